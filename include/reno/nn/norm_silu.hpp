// silu(group_norm(x)) with frozen scale and shift, the pair before every convolution of a UNet or an
// autoencoder. Autograd would keep the input of each of the two; here only x and the groups' statistics are
// kept, and the normalised values are computed again on the way back by one multiply-add. In the decoder of
// Stable Diffusion that is another third of what the graph would keep.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/addcmul.h>
#include <ATen/ops/native_group_norm.h>
#include <ATen/ops/native_group_norm_backward.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/silu_backward.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cstdint>
#include <tuple>
#include <vector>

#include "reno/nn/modules.hpp"

namespace reno::nn {

namespace detail {

/// x in a layout that the group norm's kernels take: the CPU's also channels-last, a GPU's only the plain
/// one.
inline at::Tensor for_group_norm(const at::Tensor& x) {
  return x.is_cpu() ? x.contiguous(x.suggest_memory_format()) : x.contiguous();
}

struct FrozenNormSilu : torch::autograd::Function<FrozenNormSilu> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x,
                            const at::Tensor& weight, const at::Tensor& bias, std::int64_t groups,
                            double eps) {
    const auto input = for_group_norm(x);
    auto [y, mean, rstd] = at::native_group_norm(input, weight, bias, x.size(0), x.size(1),
                                                 x.numel() / (x.size(0) * x.size(1)), groups, eps);
    context->save_for_backward({input, weight, bias, mean, rstd});
    context->saved_data["groups"] = groups;
    return at::silu_(y);
  }

  static torch::autograd::tensor_list backward(torch::autograd::AutogradContext* context,
                                               const torch::autograd::tensor_list& gradients) {
    const auto saved = context->get_saved_variables();
    const auto &x = saved[0], &weight = saved[1], &bias = saved[2], &mean = saved[3], &rstd = saved[4];
    const auto groups = context->saved_data["groups"].toInt();
    const auto y = normalized(x, weight, bias, mean, rstd, groups);
    const auto gradient = at::silu_backward(gradients[0], y);
    const auto [to_x, no_weight, no_bias] = at::native_group_norm_backward(
        x.is_cpu() ? gradient.contiguous(x.suggest_memory_format()) : gradient.contiguous(), x, mean, rstd,
        weight, x.size(0), x.size(1), x.numel() / (x.size(0) * x.size(1)), groups, {true, false, false});
    return {to_x, {}, {}, {}, {}};
  }

 private:
  /// x · (rstd w) + (b - mean rstd w), the factors per image and channel in the statistics' precision.
  static at::Tensor normalized(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
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
};

}  // namespace detail

/// x (N, C, ...) -> the same shape. A norm that is being trained goes through autograd's own operations.
inline at::Tensor norm_silu(const GroupNorm& norm, const at::Tensor& x) {
  const bool trained = norm.weight.requires_grad() || norm.bias.requires_grad();
  if (c10::GradMode::is_enabled() && x.requires_grad() && !trained)
    return detail::FrozenNormSilu::apply(x, norm.weight, norm.bias, norm.groups, norm.eps);
  return at::silu(norm(x));
}

}  // namespace reno::nn
