// The regulariser against the Python reference (value and gradient by autograd) and its own definition.
#include <ATen/ATen.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <string>

#include "reno/regularizer.hpp"
#include "support/golden.hpp"

namespace {

using reno::regularize;

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return reno::test::deviation(a, b, reno::test::Measure::absolute);
}

constexpr double weight = 0.01;

TEST_CASE("regulariser: value and gradient agree with the reference", "[regularizer]") {
  for (const auto& golden : reno::test::goldens("rewards/optimizers")) {
    for (const std::string reg : {"reg0", "reg1", "reg2", "reg4", "reg5", "reg6", "reg7"}) {
      INFO(golden.name << " " << reg);
      const auto result = regularize(golden[reg + ".z"], weight);
      reno::test::check_to_largest("regulariser, norm", result.norm[0], golden[reg + ".norm"], 1e-6);
      reno::test::check_to_largest("regulariser, value", result.value[0], golden[reg + ".value"], 2e-6);
      reno::test::check_absolute("regulariser, gradient", result.gradient, golden[reg + ".grad"], 1e-7);
    }
    // The reference takes one norm over this batch of two; here each image has its own.
    const at::Tensor norms = regularize(golden["reg3.z"], weight).norm;
    reno::test::check_to_largest("regulariser, norm", norms.square().sum().sqrt(), golden["reg3.norm"], 1e-6);
  }
}

TEST_CASE("regulariser: every image of a batch is regularised on its own", "[regularizer]") {
  const at::Tensor z =
      at::randn({3, 4, 8, 8}) * at::tensor({0.1, 1.0, 7.0}).view({3, 1, 1, 1}).to(at::kFloat);
  const auto batch = regularize(z, weight);
  for (std::int64_t i = 0; i < 3; ++i) {
    const auto single = regularize(z.narrow(0, i, 1), weight);
    CHECK(batch.value[i].item<double>() == Approx(single.value[0].item<double>()).epsilon(1e-6));
    CHECK(largest_difference(batch.gradient[i], single.gradient[0]) < 1e-7);
  }
}

TEST_CASE("regulariser: the closed form is the gradient of the value", "[regularizer]") {
  const at::Tensor z = at::randn({2, 4, 3, 3}, at::kDouble);
  const auto result = regularize(z, weight);
  REQUIRE(result.gradient.scalar_type() == at::kDouble);
  const at::Tensor direction = at::randn_like(z);
  const double h = 1e-6;
  const at::Tensor slope =
      (regularize(z + h * direction, weight).value - regularize(z - h * direction, weight).value) / (2 * h);
  CHECK(largest_difference(slope, (result.gradient * direction).flatten(1).sum(1)) < 1e-8);
}

TEST_CASE("regulariser: it is smallest where the squared norm is d - 1", "[regularizer]") {
  const at::Tensor z = at::randn({1, 16}, at::kDouble);
  const auto at_minimum = regularize(z * std::sqrt(15.0) / z.norm(), weight);
  CHECK(at_minimum.gradient.abs().max().item<double>() < 1e-15);
  CHECK(regularize(z * 4.0 / z.norm(), weight).value.item<double>() > at_minimum.value.item<double>());
  CHECK(regularize(z * 3.8 / z.norm(), weight).value.item<double>() > at_minimum.value.item<double>());
}

TEST_CASE("regulariser: float16 noise does not overflow", "[regularizer]") {
  const at::Tensor z = at::full({1, 4, 64, 64}, 3.0, at::kHalf);  // |z|^2 = 147456, beyond float16
  const auto result = regularize(z, weight);
  CHECK(result.norm.scalar_type() == at::kFloat);
  CHECK(result.norm.item<double>() == Approx(384.0));
  CHECK(result.gradient.scalar_type() == at::kHalf);
  CHECK(result.gradient.isfinite().all().item<bool>());
}

TEST_CASE("regulariser: no graph, whatever the noise asks for", "[regularizer]") {
  const auto result = regularize(at::randn({1, 8}).requires_grad_(), weight);
  CHECK_FALSE(result.value.requires_grad());
  CHECK_FALSE(result.gradient.requires_grad());
}

}  // namespace
