// Group norm with SiLU on the CPU, see group_norm.cpp.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <tuple>

namespace reno::kernels {

/// See GroupNormOperator (nn/operator.hpp).
std::tuple<at::Tensor, at::Tensor, at::Tensor> group_norm(const at::Tensor& x, const at::Tensor& weight,
                                                          const at::Tensor& bias, std::int64_t groups,
                                                          double eps, bool silu);

/// See GroupNormBackwardOperator.
at::Tensor group_norm_backward(const at::Tensor& gradient, const at::Tensor& x, const at::Tensor& weight,
                               const at::Tensor& bias, const at::Tensor& mean, const at::Tensor& rstd,
                               std::int64_t groups, bool silu);

}  // namespace reno::kernels
