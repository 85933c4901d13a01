#include <ATen/ATen.h>

#include <catch2/catch.hpp>

#include "reno/nn/convolution.hpp"

using namespace reno;

namespace {

/// Of what depends on x, weight, bias and two numbers, in x, with the same cotangent for all dtypes.
at::Tensor conv_gradient(at::Tensor (*convolve)(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                                std::int64_t, std::int64_t),
                         const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                         std::int64_t first, std::int64_t second) {
  const auto leaf = x.detach().requires_grad_(true);
  const auto y = convolve(leaf, weight, bias, first, second);
  const auto waves = at::arange(y.numel(), at::kDouble).view(y.sizes()).sin().to(at::kBFloat16);
  y.backward(waves.to(y.scalar_type()));
  return leaf.grad();
}

at::Tensor unfused_conv2d(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                          std::int64_t stride, std::int64_t padding) {
  return at::conv2d(x, weight, bias, stride, padding);
}

at::Tensor upsample_and_convolve(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                                 std::int64_t height, std::int64_t width) {
  return at::conv2d(at::upsample_nearest2d(x, {height, width}), weight, bias, 1, 1);
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

TEST_CASE("A convolution of an enlarged map is that of the map which is made larger first", "[nn]") {
  struct Sizes {
    std::int64_t rows, columns, height, width;
  };
  const Sizes doubled{32, 40, 64, 80}, small{4, 5, 8, 10}, odd{32, 40, 63, 80}, tripled{32, 33, 96, 99};
  const std::pair<at::ScalarType, double> dtypes[] = {
      {at::kDouble, 1e-12}, {at::kFloat, 1e-5}, {at::kHalf, 3e-3}, {at::kBFloat16, 2e-2}};
  for (const auto& [dtype, tolerance] : dtypes)
    for (const auto format : {at::MemoryFormat::Contiguous, at::MemoryFormat::ChannelsLast})
      for (const auto& sizes : {doubled, small, odd, tripled})
        for (const bool with_bias : {true, false}) {
          INFO(dtype << " " << format << " " << sizes.height << " " << sizes.width << " bias " << with_bias);
          const at::TensorOptions options(dtype);
          const auto x = at::randn({2, 6, sizes.rows, sizes.columns}, options).contiguous(format);
          const auto weight = at::randn({5, 6, 3, 3}, options);
          const auto bias = with_bias ? at::randn({5}, options) : at::Tensor();
          const auto exactly = [&](const at::Tensor& tensor) {
            return tensor.defined() ? tensor.to(at::kDouble) : tensor;
          };
          const auto check = [&](const at::Tensor& got, const at::Tensor& expected) {
            CHECK(got.scalar_type() == dtype);
            CHECK(got.is_contiguous(format));
            CHECK(((got - expected).norm() / expected.norm()).item<double>() < tolerance);
          };
          const auto y = nn::upsampled_conv2d(x, weight, bias, sizes.height, sizes.width);
          check(y,
                upsample_and_convolve(exactly(x), exactly(weight), exactly(bias), sizes.height, sizes.width));
          const auto got = conv_gradient(nn::upsampled_conv2d, x, weight, bias, sizes.height, sizes.width);
          check(got, conv_gradient(upsample_and_convolve, exactly(x), exactly(weight), exactly(bias),
                                   sizes.height, sizes.width));
        }
}

TEST_CASE("A convolution of an enlarged map that is being trained gets its gradients", "[nn]") {
  const auto x = at::randn({1, 4, 32, 32}).requires_grad_(true);
  const auto weight = at::randn({4, 4, 3, 3}).requires_grad_(true);
  nn::upsampled_conv2d(x, weight, {}, 64, 64).sum().backward();
  CHECK(weight.grad().defined());
  CHECK(x.grad().defined());
}

TEST_CASE("Doubling and convolving keeps its input no longer than the caller does", "[nn]") {
  const auto leaf = at::randn({1, 4, 32, 32}).requires_grad_(true);
  auto x = leaf * 2;
  const c10::weak_intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl> watched(x.getIntrusivePtr());
  const auto y = nn::upsampled_conv2d(x, at::randn({4, 4, 3, 3}), {}, 64, 64);
  x.reset();
  CHECK(watched.expired());
  y.sum().backward();
  CHECK(leaf.grad().defined());
}
