// Weights from the dtype of their file to that of the run.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstdint>

namespace reno {

/// tensor.to(dtype). From one half precision to the other LibTorch goes number by number on the CPU; by way
/// of float, a piece at a time, which stays in a core's cache, the same takes less than half the time.
inline at::Tensor convert(const at::Tensor& tensor, at::ScalarType dtype) {
  const auto from = tensor.scalar_type();
  const bool between_halves =
      (from == at::kHalf && dtype == at::kBFloat16) || (from == at::kBFloat16 && dtype == at::kHalf);
  if (!between_halves || !tensor.is_cpu() || !tensor.is_contiguous()) return tensor.to(dtype);
  constexpr std::int64_t piece = 1 << 18;
  const auto result = at::empty(tensor.sizes(), tensor.options().dtype(dtype));
  const auto in = tensor.view({-1}), out = result.view({-1});
  const auto buffer = at::empty({std::min(piece, tensor.numel())}, tensor.options().dtype(at::kFloat));
  for (std::int64_t first = 0; first < tensor.numel(); first += piece) {
    const std::int64_t size = std::min(piece, tensor.numel() - first);
    const auto wide = buffer.narrow(0, 0, size);
    wide.copy_(in.narrow(0, first, size));
    out.narrow(0, first, size).copy_(wide);
  }
  return result;
}

}  // namespace reno
