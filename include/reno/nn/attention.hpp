// Multi-head attention: LibTorch's, and on the way that networks go most often, unmasked and of bfloat16 on a
// CPU that multiplies such numbers, an operator that a plugin of kernels may have (plugins/kernels/cpu).
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <cstdint>
#include <optional>
#include <tuple>

#include "reno/nn/operator.hpp"

namespace reno::nn {

/// What the attention of a query may see.
struct AttentionOptions {
  at::Tensor mask = {};              ///< added to the logits; broadcasts to (N, heads, Q, K), or undefined
  bool causal = false;               ///< query i sees keys 0..i; not together with a mask
  std::optional<double> scale = {};  ///< of the logits; 1/sqrt(head width) when not set
};

namespace detail {

/// The operator "reno::attention", if it is loaded and made for such tensors.
inline auto find_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                           std::int64_t heads, const AttentionOptions& options) {
  const auto suits = [](const at::Tensor& x) {
    return x.is_cpu() && x.scalar_type() == at::kBFloat16 && x.dim() == 3 && x.numel() > 0 &&
           x.stride(2) == 1;
  };
  const bool fits = suits(query) && suits(key) && suits(value) && query.size(2) % (2 * heads) == 0 &&
                    key.sizes() == value.sizes() && key.size(2) == query.size(2) &&
                    key.size(0) == query.size(0) && !options.mask.defined() && !options.causal;
  return fits ? find_operator<AttentionOperator>("reno::attention", at::kCPU) : std::nullopt;
}

struct FusedAttention : torch::autograd::Function<FusedAttention> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& query,
                            const at::Tensor& key, const at::Tensor& value, std::int64_t heads,
                            double scale) {
    const auto fused = find_operator<AttentionOperator>("reno::attention", at::kCPU);
    const auto [output, log_sums] = fused->call(query, key, value, heads, scale);
    context->save_for_backward({query, key, value, output, log_sums});
    context->saved_data["heads"] = heads;
    context->saved_data["scale"] = scale;
    return output;
  }

  static torch::autograd::tensor_list backward(torch::autograd::AutogradContext* context,
                                               const torch::autograd::tensor_list& gradients) {
    const auto saved = context->get_saved_variables();
    const auto fused = find_operator<AttentionBackwardOperator>("reno::attention_backward", at::kCPU);
    const bool of_keys = context->needs_input_grad(1) || context->needs_input_grad(2);
    const auto [query, key, value] =
        fused->call(gradients[0], saved[0], saved[1], saved[2], saved[3], saved[4],
                    context->saved_data["heads"].toInt(), context->saved_data["scale"].toDouble(), of_keys);
    return {query, key, value, {}, {}};
  }
};

}  // namespace detail

/// softmax(scale · Q Kᵀ + mask) V on projected inputs: query (N, Q, heads·d), key and value (N, K, heads·d)
/// -> (N, Q, heads·d).
inline at::Tensor attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                            std::int64_t heads, const AttentionOptions& options = {}) {
  if (const auto fused = detail::find_attention(query, key, value, heads, options)) {
    const auto width = static_cast<double>(query.size(2) / heads);
    const double scale = options.scale.value_or(1 / std::sqrt(width));
    if (c10::GradMode::is_enabled() &&
        (query.requires_grad() || key.requires_grad() || value.requires_grad()))
      return detail::FusedAttention::apply(query, key, value, heads, scale);
    return std::get<0>(fused->call(query, key, value, heads, scale));
  }
  const auto split = [heads](const at::Tensor& x) { return x.unflatten(-1, {heads, -1}).transpose(1, 2); };
  const std::optional<at::Tensor> mask = options.mask.defined() ? std::optional(options.mask) : std::nullopt;
  const auto mixed = at::scaled_dot_product_attention(split(query), split(key), split(value), mask,
                                                      /*dropout_p=*/0.0, options.causal, options.scale);
  return mixed.transpose(1, 2).flatten(2);
}

}  // namespace reno::nn
