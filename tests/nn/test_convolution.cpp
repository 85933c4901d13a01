#include <ATen/ATen.h>

#include <catch2/catch.hpp>

#include "reno/nn/convolution.hpp"

using namespace reno;

namespace {

at::Tensor conv_gradient(at::Tensor (*convolve)(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                                std::int64_t, std::int64_t),
                         const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                         std::int64_t stride, std::int64_t padding) {
  const auto leaf = x.detach().requires_grad_(true);
  const auto y = convolve(leaf, weight, bias, stride, padding);
  y.backward(at::arange(y.numel(), y.options()).view(y.sizes()).sin());
  return leaf.grad();
}

at::Tensor unfused_conv2d(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                          std::int64_t stride, std::int64_t padding) {
  return at::conv2d(x, weight, bias, stride, padding);
}

}  // namespace

TEST_CASE("A frozen convolution has the gradient of autograd's own", "[nn]") {
  for (const auto dtype : {at::kFloat, at::kDouble, at::kBFloat16})
    for (const auto format : {at::MemoryFormat::Contiguous, at::MemoryFormat::ChannelsLast})
      for (const std::int64_t stride : {1, 2})
        for (const std::int64_t kernel : {1, 3})
          for (const bool with_bias : {true, false}) {
            INFO(dtype << " stride " << stride << " kernel " << kernel << " bias " << with_bias);
            const at::TensorOptions options(dtype);
            const auto x = at::randn({2, 6, 9, 8}, options).contiguous(format);
            const auto weight = at::randn({5, 6, kernel, kernel}, options);
            const auto bias = with_bias ? at::randn({5}, options) : at::Tensor();
            CHECK(at::equal(nn::conv2d(x, weight, bias, stride, kernel / 2),
                            at::conv2d(x, weight, bias, stride, kernel / 2)));
            const auto got = conv_gradient(nn::conv2d, x, weight, bias, stride, kernel / 2);
            const auto expected = conv_gradient(unfused_conv2d, x, weight, bias, stride, kernel / 2);
            CHECK(at::allclose(got, expected, 1e-5, 1e-6));
            CHECK(got.suggest_memory_format() == expected.suggest_memory_format());
          }
}

TEST_CASE("A frozen convolution keeps its input no longer than the caller does", "[nn]") {
  const auto leaf = at::randn({1, 4, 8, 8}).requires_grad_(true);
  const auto weight = at::randn({4, 4, 3, 3});
  auto x = leaf * 2;
  const c10::weak_intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl> watched(x.getIntrusivePtr());
  const auto y = nn::conv2d(x, weight, {}, 1, 1);
  x.reset();
  CHECK(watched.expired());
  y.sum().backward();
  CHECK(leaf.grad().defined());
}

TEST_CASE("A convolution that is being trained gets its gradients", "[nn]") {
  const auto x = at::randn({1, 4, 8, 8}).requires_grad_(true);
  const auto weight = at::randn({4, 4, 3, 3}).requires_grad_(true),
             bias = at::randn({4}).requires_grad_(true);
  nn::conv2d(x, weight, bias, 1, 1).sum().backward();
  CHECK(weight.grad().defined());
  CHECK(bias.grad().defined());
  CHECK(x.grad().defined());
}
