// Token ids as text encoders take them: on the host, so that they can be looked at without waiting for a
// device.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <fmt/format.h>

#include <cstdint>
#include <vector>

#include "reno/error.hpp"

namespace reno::nn {

/// One row per prompt, all rows of one length.
using TokenIds = std::vector<std::vector<std::int64_t>>;

/// The ids as a tensor (N, length), int64, on a device. Throws LoadError for rows that differ in length and
/// for an id that is not below `vocabulary`: it comes from another model's tokenizer.
inline at::Tensor token_matrix(const TokenIds& ids, std::int64_t vocabulary, at::Device device) {
  std::vector<at::Tensor> rows;
  for (const auto& row : ids) {
    if (row.size() != ids.front().size())
      throw LoadError(
          fmt::format("prompts of {} and {} tokens in one batch", ids.front().size(), row.size()));
    for (const auto id : row)
      if (id < 0 || id >= vocabulary)
        throw LoadError(
            fmt::format("token id {}, but this text encoder has a vocabulary of {}", id, vocabulary));
    rows.push_back(at::tensor(row, at::kLong));
  }
  return at::stack(rows).to(device);
}

}  // namespace reno::nn
