// Attention of bfloat16 on the CPU, see attention.cpp.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <tuple>

namespace reno::kernels {

/// Whether this processor multiplies bfloat16 numbers: on others LibTorch's attention is the faster one.
bool multiplies_bfloat16();

/// See AttentionOperator (nn/operator.hpp).
std::tuple<at::Tensor, at::Tensor> attention(const at::Tensor& query, const at::Tensor& key,
                                             const at::Tensor& value, std::int64_t heads, double scale);

/// See AttentionBackwardOperator.
std::tuple<at::Tensor, at::Tensor, at::Tensor> attention_backward(
    const at::Tensor& gradient, const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
    const at::Tensor& output, const at::Tensor& log_sums, std::int64_t heads, double scale, bool of_keys);

}  // namespace reno::kernels
