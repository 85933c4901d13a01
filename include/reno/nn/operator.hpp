// Fused operators that a plugin may have given to LibTorch's dispatcher (plugins/kernels/). The core asks for
// them by name: where none is loaded, LibTorch's own operations do the same work in more steps.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

namespace reno::nn {

/// "reno::group_norm": x, weight, bias, groups, eps, whether SiLU follows -> the values, and the groups' mean
/// and 1 / sqrt(variance + eps), (N, groups).
using GroupNormOperator = std::tuple<at::Tensor, at::Tensor, at::Tensor>(const at::Tensor&, const at::Tensor&,
                                                                         const at::Tensor&, std::int64_t,
                                                                         double, bool);
/// "reno::group_norm_backward": gradient, x, weight, bias, mean, rstd, groups, silu -> the gradient in x.
using GroupNormBackwardOperator = at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                             const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                             std::int64_t, bool);

/// "reno::attention": query, key, value, heads, scale (see nn/attention.hpp) -> the values mixed, and per
/// image, head and query the logarithm of the sum that the softmax divides by, (N, heads, Q).
using AttentionOperator = std::tuple<at::Tensor, at::Tensor>(const at::Tensor&, const at::Tensor&,
                                                             const at::Tensor&, std::int64_t, double);
/// "reno::attention_backward": gradient, query, key, value, what "reno::attention" returned, heads, scale,
/// whether keys and values want gradients -> the gradients of query, key and value.
using AttentionBackwardOperator = std::tuple<at::Tensor, at::Tensor, at::Tensor>(
    const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&,
    const at::Tensor&, std::int64_t, double, bool);

/// The operator `name` for tensors on such a device, if a plugin has registered it.
template <class Signature>
std::optional<c10::TypedOperatorHandle<Signature>> find_operator(const char* name, c10::DeviceType device) {
  const auto key = device == c10::kCUDA ? c10::DispatchKey::CUDA : c10::DispatchKey::CPU;
  const auto found = c10::Dispatcher::singleton().findSchema({name, ""});
  if (!found || !found->hasKernelForDispatchKey(key)) return std::nullopt;
  return found->typed<Signature>();
}

/// What operators there are for such a device, for people to read.
inline std::vector<std::string> own_operators(c10::DeviceType device) {
  std::vector<std::string> names;
  if (find_operator<GroupNormOperator>("reno::group_norm", device))
    names.emplace_back("group norm with SiLU");
  if (find_operator<AttentionOperator>("reno::attention", device))
    names.emplace_back("attention of bfloat16");
  return names;
}

}  // namespace reno::nn
