#include <ATen/ATen.h>

#include <catch2/catch.hpp>
#include <limits>

#include "reno/optimizers/clip.hpp"

namespace {

using reno::clip_by_norm;

TEST_CASE("clipping: each image by its own norm", "[clip]") {
  const at::Tensor gradient = at::stack({at::full({2, 2}, 3.0), at::full({2, 2}, 0.01)});  // norms 6 and 0.02
  const at::Tensor clipped = clip_by_norm(gradient, 0.1);
  CHECK(clipped[0].norm().item<double>() == Approx(0.1 * 6.0 / (6.0 + 1e-6)).epsilon(1e-6));
  CHECK(at::equal(clipped[1], gradient[1]));
  CHECK(clipped.sizes() == gradient.sizes());
}

TEST_CASE("clipping: 0 leaves the gradient alone", "[clip]") {
  const at::Tensor gradient = at::randn({2, 5}) * 100.0;
  CHECK(clip_by_norm(gradient, 0.0).is_same(gradient));
}

TEST_CASE("clipping: a zero gradient stays zero", "[clip]") {
  CHECK(clip_by_norm(at::zeros({1, 4}), 0.1).abs().max().item<double>() == 0.0);
}

TEST_CASE("clipping does not hide what is not finite, and does not spread it", "[clip]") {
  for (const double bad :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    at::Tensor gradient = at::ones({2, 4});
    gradient[0][1] = bad;
    const at::Tensor clipped = clip_by_norm(gradient, 0.1);
    CHECK_FALSE(clipped[0].isfinite().all().item<bool>());
    CHECK(clipped[1].isfinite().all().item<bool>());
  }
}

}  // namespace
