// What optimizers share in saving and restoring their state: a snapshot never aliases the live tensors, and a
// state that does not fit is refused rather than broadcast.
#pragma once

#include <ATen/core/Tensor.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string_view>
#include <vector>

#include "reno/error.hpp"

namespace reno::detail {

inline std::vector<at::Tensor> snapshot(const std::vector<at::Tensor>& tensors) {
  std::vector<at::Tensor> copies;
  for (const auto& tensor : tensors) copies.push_back(tensor.detach().clone());
  return copies;
}

/// Throws LoadError unless the state is empty (nothing stepped yet) or has `count` tensors.
inline void require_state_count(std::string_view optimizer, const std::vector<at::Tensor>& state,
                                std::size_t count) {
  if (!state.empty() && state.size() != count) {
    throw LoadError(
        fmt::format("the saved state of optimizer '{}' has {} tensors, expected {}: it was saved "
                    "by another optimizer or version",
                    optimizer, state.size(), count));
  }
}

/// Throws RunError when the state belongs to noise of another shape.
inline void require_state_shape(std::string_view optimizer, const at::Tensor& state,
                                const at::Tensor& noise) {
  if (state.sizes() != noise.sizes()) {
    throw RunError(fmt::format("the state of optimizer '{}' is for noise of shape {}, got {}: start it anew",
                               optimizer, fmt::join(state.sizes(), "x"), fmt::join(noise.sizes(), "x")));
  }
}

}  // namespace reno::detail
