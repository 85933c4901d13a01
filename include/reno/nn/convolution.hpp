// Convolution by a frozen kernel. Autograd's own keeps the input for the gradient of a kernel that wants
// none; here only the gradient of the input exists, and it needs the kernel alone. In the decoder of Stable
// Diffusion this is a third of all that the graph would keep.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/empty.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <array>
#include <cstdint>
#include <optional>

namespace reno::nn {

namespace detail {

struct FrozenConv2d : torch::autograd::Function<FrozenConv2d> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x,
                            const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                            std::int64_t stride, std::int64_t padding) {
    context->save_for_backward({weight});
    context->saved_data["sizes"] = x.sizes().vec();
    context->saved_data["format"] = static_cast<std::int64_t>(x.suggest_memory_format());
    context->saved_data["stride"] = stride;
    context->saved_data["padding"] = padding;
    return at::conv2d(x, weight, bias, stride, padding);
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
    const auto [gradient, no_weight, no_bias] =
        at::convolution_backward(gradients[0], input, weight, c10::nullopt, strides, paddings, {1, 1},
                                 /*transposed=*/false, {0, 0}, /*groups=*/1, {true, false, false});
    return {gradient, {}, {}, {}, {}};
  }
};

}  // namespace detail

/// x (N, in, H, W), weight (out, in, k, k), bias (out) or undefined. A kernel that requires no gradient is
/// frozen.
inline at::Tensor conv2d(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                         std::int64_t stride, std::int64_t padding) {
  const bool trained = weight.requires_grad() || (bias.defined() && bias.requires_grad());
  if (c10::GradMode::is_enabled() && x.requires_grad() && !trained)
    return detail::FrozenConv2d::apply(x, weight, bias.defined() ? std::optional(bias) : std::nullopt, stride,
                                       padding);
  return at::conv2d(x, weight, bias, stride, padding);
}

}  // namespace reno::nn
