// Group norm with frozen scale and shift, and silu(group_norm(x)), the pair before every convolution of a
// UNet or an autoencoder. Autograd would keep the input of each of the two; here only x and the groups'
// statistics are kept, and the normalised values are computed again on the way back by one multiply-add. In
// the decoder of Stable Diffusion that is another third of what the graph would keep.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/addcmul.h>
#include <ATen/ops/group_norm.h>
#include <ATen/ops/native_group_norm.h>
#include <ATen/ops/native_group_norm_backward.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/silu_backward.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cstdint>
#include <optional>
#include <tuple>
#include <vector>

#include "reno/nn/operator.hpp"

namespace reno::nn {

namespace detail {

/// The operator `name`, if it is loaded and made for such tensors: on a GPU in any layout, on the CPU
/// channels-last, where LibTorch's way back is slow.
template <class Signature>
auto find_group_norm(const char* name, const at::Tensor& x, const at::Tensor& weight,
                     const at::Tensor& bias) {
  const auto dtype = x.scalar_type();
  const bool fits =
      x.numel() > 0 && (dtype == at::kFloat || dtype == at::kHalf || dtype == at::kBFloat16) &&
      weight.scalar_type() == dtype && bias.scalar_type() == dtype &&
      (x.is_cuda() || (x.is_cpu() && x.suggest_memory_format() == at::MemoryFormat::ChannelsLast));
  return fits ? find_operator<Signature>(name, x.device().type()) : std::nullopt;
}

/// x in a layout that what works with it takes: LibTorch's kernels for a GPU know the plain one only.
inline at::Tensor for_group_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const bool any_layout =
      x.is_cpu() || find_group_norm<GroupNormOperator>("reno::group_norm", x, weight, bias).has_value();
  return any_layout ? x.contiguous(x.suggest_memory_format()) : x.contiguous();
}

struct GroupNormResult {
  at::Tensor y, mean, rstd;
};

/// x is as for_group_norm makes it.
inline GroupNormResult group_norm_forward(const at::Tensor& x, const at::Tensor& weight,
                                          const at::Tensor& bias, std::int64_t groups, double eps,
                                          bool silu) {
  if (const auto fused = find_group_norm<GroupNormOperator>("reno::group_norm", x, weight, bias)) {
    const auto [y, mean, rstd] = fused->call(x, weight, bias, groups, eps, silu);
    return {y, mean, rstd};
  }
  auto [y, mean, rstd] = at::native_group_norm(x, weight, bias, x.size(0), x.size(1),
                                               x.numel() / (x.size(0) * x.size(1)), groups, eps);
  return {silu ? at::silu_(y) : y, mean, rstd};
}

/// x · (rstd w) + (b - mean rstd w), the factors per image and channel in the statistics' precision.
inline at::Tensor normalized(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                             const at::Tensor& mean, const at::Tensor& rstd, std::int64_t groups) {
  const auto by_group = [&](const at::Tensor& of_channels) {
    return of_channels.to(rstd.scalar_type()).unflatten(0, {groups, -1}).unsqueeze(0);
  };
  const auto scale = rstd.unsqueeze(-1) * by_group(weight);  // (N, groups, channels / groups)
  const auto shift = by_group(bias) - mean.unsqueeze(-1) * scale;
  const auto spread = [&](const at::Tensor& of_groups) {
    auto sizes = std::vector<std::int64_t>(static_cast<std::size_t>(x.dim()), 1);
    sizes[0] = x.size(0);
    sizes[1] = x.size(1);
    return of_groups.reshape(sizes);
  };
  return at::addcmul(spread(shift), x, spread(scale)).to(x.scalar_type());
}

/// The gradient in x.
inline at::Tensor group_norm_backward(at::Tensor gradient, const at::Tensor& x, const at::Tensor& weight,
                                      const at::Tensor& bias, const at::Tensor& mean, const at::Tensor& rstd,
                                      std::int64_t groups, bool silu) {
  if (const auto fused =
          find_group_norm<GroupNormBackwardOperator>("reno::group_norm_backward", x, weight, bias))
    return fused->call(gradient, x, weight, bias, mean, rstd, groups, silu);
  if (silu) gradient = at::silu_backward(gradient, normalized(x, weight, bias, mean, rstd, groups));
  return std::get<0>(at::native_group_norm_backward(
      x.is_cpu() ? gradient.contiguous(x.suggest_memory_format()) : gradient.contiguous(), x, mean, rstd,
      weight, x.size(0), x.size(1), x.numel() / (x.size(0) * x.size(1)), groups, {true, false, false}));
}

struct FrozenGroupNorm : torch::autograd::Function<FrozenGroupNorm> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x,
                            const at::Tensor& weight, const at::Tensor& bias, std::int64_t groups, double eps,
                            bool silu) {
    const auto input = for_group_norm(x, weight, bias);
    const auto result = group_norm_forward(input, weight, bias, groups, eps, silu);
    context->save_for_backward({input, weight, bias, result.mean, result.rstd});
    context->saved_data["groups"] = groups;
    context->saved_data["silu"] = silu;
    return result.y;
  }

  static torch::autograd::tensor_list backward(torch::autograd::AutogradContext* context,
                                               const torch::autograd::tensor_list& gradients) {
    const auto saved = context->get_saved_variables();
    return {group_norm_backward(gradients[0], saved[0], saved[1], saved[2], saved[3], saved[4],
                                context->saved_data["groups"].toInt(), context->saved_data["silu"].toBool()),
            {},
            {},
            {},
            {},
            {}};
  }
};

}  // namespace detail

/// x (N, C, ...), weight (C), bias (C) -> like x; `silu`: whether SiLU follows. A norm that is being trained
/// goes through autograd's own operations.
inline at::Tensor group_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                             std::int64_t groups, double eps, bool silu) {
  if (c10::GradMode::is_enabled()) {
    if (weight.requires_grad() || bias.requires_grad()) {
      const auto y = at::group_norm(x, groups, weight, bias, eps);
      return silu ? at::silu(y) : y;
    }
    if (x.requires_grad()) return detail::FrozenGroupNorm::apply(x, weight, bias, groups, eps, silu);
  }
  const auto input = detail::for_group_norm(x, weight, bias);
  return detail::group_norm_forward(input, weight, bias, groups, eps, silu).y;
}

}  // namespace reno::nn
