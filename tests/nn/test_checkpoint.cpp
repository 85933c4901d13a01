#include <ATen/ATen.h>

#include <catch2/catch.hpp>

#include "reno/nn/checkpoint.hpp"

using namespace reno::nn;
using Tensors = std::vector<at::Tensor>;

namespace {

/// Two outputs of two inputs, with a count of its runs.
Block counted(int& runs) {
  return [&runs](const Tensors& inputs) {
    ++runs;
    return Tensors{at::sin(inputs[0]) * inputs[1].exp(), at::tanh(inputs[0] + inputs[1])};
  };
}

Tensors gradients(bool recompute, int& runs, const at::Tensor& x, const at::Tensor& y) {
  const auto a = x.detach().requires_grad_(true), b = y.detach().requires_grad_(true);
  const auto outputs = checkpoint(recompute, {a * 2, b * 3}, counted(runs));
  (outputs[0].square().sum() + outputs[1].sum()).backward();
  return {outputs[0].detach(), outputs[1].detach(), a.grad(), b.grad()};
}

}  // namespace

TEST_CASE("A checkpointed block gives the same numbers, running once more", "[nn]") {
  const auto x = at::randn({3, 4}, at::kDouble), y = at::randn({3, 4}, at::kDouble);
  int once = 0, twice = 0;
  const auto kept = gradients(false, once, x, y), again = gradients(true, twice, x, y);
  for (std::size_t i = 0; i < kept.size(); ++i) CHECK(at::equal(kept[i], again[i]));
  CHECK(once == 1);
  CHECK(twice == 2);
}

TEST_CASE("An output that nobody used, and an input without gradient, are no problem", "[nn]") {
  int runs = 0;
  const auto x = at::randn({5}).requires_grad_(true), constant = at::randn({5});
  const auto outputs = checkpoint(true, {x, constant}, counted(runs));
  outputs[1].sum().backward();
  CHECK(at::allclose(x.grad(), 1 - at::tanh(x.detach() + constant).square()));
  CHECK_FALSE(constant.grad().defined());
}

TEST_CASE("Without a gradient to come, a block just runs", "[nn]") {
  int runs = 0;
  const auto x = at::randn({5}).requires_grad_(true);
  {
    const c10::NoGradGuard no_grad;
    CHECK_FALSE(checkpoint(true, {x, x}, counted(runs))[0].requires_grad());
  }
  CHECK_FALSE(checkpoint(true, {x.detach(), x.detach()}, counted(runs))[0].requires_grad());
  CHECK(runs == 2);
}

TEST_CASE("Checkpoints may be nested", "[nn]") {
  int runs = 0;
  const auto x = at::randn({5}, at::kDouble).requires_grad_(true);
  const auto inner = [&runs](const at::Tensor& in) {
    ++runs;
    return at::sin(in);
  };
  const auto outer = [&](const at::Tensor& in) { return checkpoint(true, in * 2, inner).square(); };
  checkpoint(true, x, outer).sum().backward();
  CHECK(at::allclose(x.grad(), 2 * at::sin(4 * x.detach())));
  CHECK(runs == 3);
}
