// Copies of many tensors in few large pieces of memory. LibTorch's allocator of page-locked memory rounds
// every request up to a power of two, which for the matrices of a large network is two thirds too much.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstdint>

namespace reno {

class PackedMemory {
 public:
  /// `expected`: sum of `size_of` over all tensors to come. `options`: of the memory, such as
  /// pinned_memory(true).
  PackedMemory(std::int64_t expected, const at::TensorOptions& options)
      : expected_(expected), options_(options.dtype(at::kByte)) {}

  /// What a tensor takes here, in bytes.
  static std::int64_t size_of(const at::Tensor& tensor) {
    const auto bytes = static_cast<std::int64_t>(tensor.nbytes());
    return (bytes + alignment - 1) / alignment * alignment;
  }

  /// A copy with the same strides, if those leave no gaps; it keeps its piece of memory alive.
  at::Tensor copy(const at::Tensor& tensor) {
    const auto bytes = static_cast<std::int64_t>(tensor.nbytes());
    if (!piece_.defined() || used_ + bytes > piece_.size(0)) next_piece(size_of(tensor));
    const auto memory = piece_.narrow(0, used_, bytes).view(tensor.scalar_type());
    used_ += size_of(tensor);
    expected_ -= size_of(tensor);
    const auto copy = tensor.is_non_overlapping_and_dense()
                          ? memory.as_strided(tensor.sizes(), tensor.strides())
                          : memory.view(tensor.sizes());
    return copy.copy_(tensor);
  }

 private:
  static constexpr std::int64_t alignment = 256;
  static constexpr std::int64_t largest_piece = std::int64_t{1} << 30;

  void next_piece(std::int64_t at_least) {
    piece_ = at::empty({std::max(at_least, std::min(expected_, largest_piece))}, options_);
    used_ = 0;
  }

  std::int64_t expected_;
  at::TensorOptions options_;
  at::Tensor piece_;  ///< where the next copies go
  std::int64_t used_ = 0;
};

}  // namespace reno
