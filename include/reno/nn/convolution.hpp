// Convolution by a frozen kernel. Autograd's own keeps the input for the gradient of a kernel that wants
// none; here only the gradient of the input exists, and it needs the kernel alone. In the decoder of Stable
// Diffusion this is a third of all that the graph would keep.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/convolution.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/upsample_nearest2d.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <array>
#include <cstdint>
#include <optional>

namespace reno::nn {

namespace detail {

struct FrozenConvolution : torch::autograd::Function<FrozenConvolution> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x,
                            const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                            std::int64_t stride, std::int64_t padding, bool transposed) {
    context->save_for_backward({weight});
    context->saved_data["sizes"] = x.sizes().vec();
    context->saved_data["format"] = static_cast<std::int64_t>(x.suggest_memory_format());
    context->saved_data["stride"] = stride;
    context->saved_data["padding"] = padding;
    context->saved_data["transposed"] = transposed;
    const std::array<std::int64_t, 2> strides{stride, stride}, paddings{padding, padding};
    return at::convolution(x, weight, bias, strides, paddings, {1, 1}, transposed, {0, 0}, /*groups=*/1);
  }

  static torch::autograd::tensor_list backward(torch::autograd::AutogradContext* context,
                                               const torch::autograd::tensor_list& gradients) {
    const auto weight = context->get_saved_variables()[0];
    const auto stride = context->saved_data["stride"].toInt(),
               padding = context->saved_data["padding"].toInt();
    // Stands for the input, of which the kernels look at nothing but sizes and layout.
    const auto input = at::empty(context->saved_data["sizes"].toIntVector(), gradients[0].options(),
                                 static_cast<at::MemoryFormat>(context->saved_data["format"].toInt()));
    const std::array<std::int64_t, 2> strides{stride, stride}, paddings{padding, padding};
    const auto [gradient, no_weight, no_bias] = at::convolution_backward(
        gradients[0], input, weight, c10::nullopt, strides, paddings, {1, 1},
        context->saved_data["transposed"].toBool(), {0, 0}, /*groups=*/1, {true, false, false});
    return {gradient, {}, {}, {}, {}, {}};
  }
};

inline at::Tensor convolution(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                              std::int64_t stride, std::int64_t padding, bool transposed) {
  const auto some_bias = bias.defined() ? std::optional(bias) : std::nullopt;
  const bool trained = weight.requires_grad() || (bias.defined() && bias.requires_grad());
  if (c10::GradMode::is_enabled() && x.requires_grad() && !trained)
    return FrozenConvolution::apply(x, weight, some_bias, stride, padding, transposed);
  const std::array<std::int64_t, 2> strides{stride, stride}, paddings{padding, padding};
  return at::convolution(x, weight, some_bias, strides, paddings, {1, 1}, transposed, {0, 0}, /*groups=*/1);
}

/// The kernel (in, out, 4, 4) of the transposed convolution with stride 2 and padding 1 that does the same as
/// doubling all pixels and convolving with `weight` (out, in, 3, 3): where two neighbours under the kernel
/// are one pixel, their weights are added up.
inline at::Tensor doubling_kernel(const at::Tensor& weight) {
  const auto doubled = [](const at::Tensor& kernel, std::int64_t side) {
    const auto first = kernel.narrow(side, 0, 1), middle = kernel.narrow(side, 1, 1),
               last = kernel.narrow(side, 2, 1);
    return at::cat({last, last + middle, middle + first, first}, side);
  };
  const bool half = weight.scalar_type() == at::kHalf || weight.scalar_type() == at::kBFloat16;
  const auto kernel = (half ? weight.to(at::kFloat) : weight).transpose(0, 1);
  return doubled(doubled(kernel, 2), 3).to(weight.scalar_type());
}

}  // namespace detail

/// x (N, in, H, W), weight (out, in, k, k), bias (out) or undefined. A kernel that requires no gradient is
/// frozen.
inline at::Tensor conv2d(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                         std::int64_t stride, std::int64_t padding) {
  return detail::convolution(x, weight, bias, stride, padding, /*transposed=*/false);
}

/// The convolution, with padding 1, of x (N, in, H, W) enlarged to (height, width) by repeating pixels;
/// weight (out, in, 3, 3), bias (out) or undefined. Where a frozen kernel sees every pixel doubled, four of
/// its nine factors are different ones: that takes four ninths of the work, and the enlarged map is never
/// made. In small maps it would not pay for the kernel that has to be made.
inline at::Tensor upsampled_conv2d(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                                   std::int64_t height, std::int64_t width) {
  constexpr std::int64_t fewest_pixels = 1024;
  const std::int64_t rows = x.size(2), columns = x.size(3);
  const bool doubled = height == 2 * rows && width == 2 * columns && rows * columns >= fewest_pixels;
  if (doubled && !weight.requires_grad())
    return detail::convolution(x, detail::doubling_kernel(weight), bias, 2, 1, /*transposed=*/true);
  return conv2d(at::upsample_nearest2d(x, {height, width}), weight, bias, 1, 1);
}

}  // namespace reno::nn
