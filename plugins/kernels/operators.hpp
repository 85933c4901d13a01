// What every plugin of kernels gives to LibTorch's dispatcher, for its own kind of device. The core declares
// the operators' signatures and looks for them by name (nn/operator.hpp).
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

#include <cstdint>
#include <vector>

#include "reno/nn/operator.hpp"

namespace reno::kernels {

/// A device's implementations. One without attention leaves that to LibTorch.
struct Operators {
  nn::GroupNormOperator* group_norm;
  nn::GroupNormBackwardOperator* group_norm_backward;
  nn::AttentionOperator* attention = nullptr;
  nn::AttentionBackwardOperator* attention_backward = nullptr;
};

/// Registers them; schemas exist once in a process, whoever comes first. What this returns must be kept.
inline std::vector<torch::Library> register_operators(c10::DispatchKey device, const Operators& operators) {
  std::vector<torch::Library> libraries;
  if (!c10::Dispatcher::singleton().findSchema({"reno::group_norm", ""})) {
    auto& schemas =
        libraries.emplace_back(torch::Library::FRAGMENT, "reno", std::nullopt, __FILE__, __LINE__);
    schemas.def(
        "group_norm(Tensor x, Tensor weight, Tensor bias, int groups, float eps, bool silu) -> "
        "(Tensor, Tensor, Tensor)");
    schemas.def(
        "group_norm_backward(Tensor gradient, Tensor x, Tensor weight, Tensor bias, Tensor mean, Tensor "
        "rstd, int groups, bool silu) -> Tensor");
    schemas.def(
        "attention(Tensor query, Tensor key, Tensor value, int heads, float scale) -> (Tensor, Tensor)");
    schemas.def(
        "attention_backward(Tensor gradient, Tensor query, Tensor key, Tensor value, Tensor output, Tensor "
        "log_sums, int heads, float scale, bool of_keys) -> (Tensor, Tensor, Tensor)");
  }
  auto& kernels = libraries.emplace_back(torch::Library::IMPL, "reno", device, __FILE__, __LINE__);
  kernels.impl("group_norm", operators.group_norm);
  kernels.impl("group_norm_backward", operators.group_norm_backward);
  if (operators.attention != nullptr) {
    kernels.impl("attention", operators.attention);
    kernels.impl("attention_backward", operators.attention_backward);
  }
  return libraries;
}

/// Complains about what no kernel takes.
inline void check_group_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                             std::int64_t groups) {
  const auto dtype = x.scalar_type();
  TORCH_CHECK(dtype == at::kFloat || dtype == at::kHalf || dtype == at::kBFloat16,
              "reno::group_norm: expected float, half or bfloat16, got ", dtype);
  TORCH_CHECK(x.dim() >= 2 && x.numel() > 0 && groups > 0 && x.size(1) % groups == 0,
              "reno::group_norm: x of shape ", x.sizes(), " has no ", groups, " groups of channels");
  for (const auto& parameter : {weight, bias})
    TORCH_CHECK(parameter.scalar_type() == dtype && parameter.device() == x.device() &&
                    parameter.is_contiguous() && parameter.numel() == x.size(1),
                "reno::group_norm: weight and bias must be like x, one number per channel");
}

inline void check_gradient(const at::Tensor& gradient, const at::Tensor& x) {
  TORCH_CHECK(gradient.sizes() == x.sizes() && gradient.scalar_type() == x.scalar_type(),
              "reno::group_norm_backward: the gradient must be like x");
}

}  // namespace reno::kernels
