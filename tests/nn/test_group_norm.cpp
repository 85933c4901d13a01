#include <ATen/ATen.h>

#include <catch2/catch.hpp>

#include "reno/nn/meta_kernels.hpp"
#include "reno/nn/modules.hpp"

using namespace reno;

namespace {

nn::GroupNorm make_norm(std::int64_t channels, std::int64_t groups, at::ScalarType dtype) {
  nn::GroupNorm norm(Weights::random(0, at::kCPU, dtype), channels, groups, 1e-6);
  norm.weight = at::rand({channels}, at::TensorOptions(dtype)) + 0.5;
  norm.bias = at::randn({channels}, at::TensorOptions(dtype));
  return norm;
}

at::Tensor unfused_norm_silu(const nn::GroupNorm& norm, const at::Tensor& x) { return at::silu(norm(x)); }

at::Tensor norm_silu_gradient(at::Tensor (*apply)(const nn::GroupNorm&, const at::Tensor&),
                              const nn::GroupNorm& norm, const at::Tensor& x) {
  const auto leaf = x.detach().requires_grad_(true);
  const auto y = apply(norm, leaf);
  y.backward(at::arange(y.numel(), y.options()).view(y.sizes()).sin());
  return leaf.grad();
}

double relative(const at::Tensor& got, const at::Tensor& expected) {
  return ((got - expected).to(at::kDouble).norm() / expected.to(at::kDouble).norm()).item<double>();
}

}  // namespace

TEST_CASE("A frozen norm with SiLU has the value and gradient of autograd's own", "[nn]") {
  at::manual_seed(0);
  for (const auto& [dtype, tolerance] : {std::pair(at::kFloat, 1e-6), std::pair(at::kDouble, 1e-14),
                                         std::pair(at::kBFloat16, 1e-2), std::pair(at::kHalf, 2e-3)})
    for (const auto format : {at::MemoryFormat::Contiguous, at::MemoryFormat::ChannelsLast})
      for (const std::int64_t groups : {1, 3, 12}) {
        INFO(dtype << " groups " << groups << " format " << format);
        const auto norm = make_norm(12, groups, dtype);
        const auto x = (at::randn({2, 12, 5, 7}) * 3 + 1).to(dtype).contiguous(format);
        CHECK(
            at::equal(nn::norm_silu(norm, x.detach().requires_grad_()).detach(), unfused_norm_silu(norm, x)));
        const auto got = norm_silu_gradient(nn::norm_silu, norm, x);
        const auto expected = norm_silu_gradient(unfused_norm_silu, norm, x);
        CHECK(relative(got, expected) <= tolerance);
        CHECK(got.suggest_memory_format() == expected.suggest_memory_format());
      }
}

TEST_CASE("A frozen norm with SiLU hands a GPU's kernels the plain layout, which is the only one they take",
          "[nn]") {
  register_meta_kernels();  // whose results have their input's layout
  auto norm = make_norm(12, 3, at::kFloat);
  norm.weight = norm.weight.to(at::kMeta);
  norm.bias = norm.bias.to(at::kMeta);
  const auto x = at::empty({2, 12, 5, 7}, at::TensorOptions(at::kMeta), at::MemoryFormat::ChannelsLast);
  const auto leaf = x.detach().requires_grad_(true);
  const auto y = nn::norm_silu(norm, leaf);
  CHECK(y.is_contiguous());
  y.backward(at::empty_like(x));
  CHECK(leaf.grad().sizes() == x.sizes());
  const auto on_cpu = at::ones({2, 12, 5, 7}).contiguous(at::MemoryFormat::ChannelsLast);
  CHECK(nn::detail::for_group_norm(on_cpu, at::ones({12}), at::ones({12}))
            .is_contiguous(at::MemoryFormat::ChannelsLast));
}

TEST_CASE("A frozen norm with SiLU keeps its input until the way back, no longer", "[nn]") {
  const auto leaf = at::randn({1, 4, 8, 8}).requires_grad_(true);
  const auto norm = make_norm(4, 2, at::kFloat);
  auto x = leaf * 2;
  const auto y = nn::norm_silu(norm, x);
  const c10::weak_intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl> input(x.getIntrusivePtr());
  x.reset();
  CHECK_FALSE(input.expired());
  y.sum().backward();
  CHECK(input.expired());
}

TEST_CASE("A norm that is being trained gets its gradients", "[nn]") {
  auto norm = make_norm(4, 2, at::kFloat);
  norm.weight.requires_grad_();
  nn::norm_silu(norm, at::randn({1, 4, 8, 8}).requires_grad_()).sum().backward();
  CHECK(norm.weight.grad().defined());
}
