// A read-only collection of named tensors: what every weights file format becomes once it is opened.
// `Weights` (io/weights.hpp) is the scope that networks are built from; it reads through this interface and
// never knows the format.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace reno {

/// What the file says of one tensor, known without reading its data.
struct TensorInfo {
  at::ScalarType dtype = at::ScalarType::Undefined;
  std::vector<std::int64_t> shape;
  std::string file;  ///< the file (or shard) that holds it, for messages
};

/// Named tensors of one checkpoint. Opening checks the whole structure of the file; reading a tensor cannot
/// run past it.
class TensorSource {
 public:
  virtual ~TensorSource() = default;

  /// Names in the file's order.
  virtual std::vector<std::string> names() const = 0;

  /// Nothing is read; null when there is no such tensor.
  virtual const TensorInfo* find(const std::string& name) const = 0;

  /// The tensor on the CPU in its stored dtype, as a view of the mapped file wherever possible. It keeps the
  /// mapping alive and must not be written to. Throws LoadError for an unknown name.
  virtual at::Tensor read(const std::string& name) const = 0;

  /// The file or index that was opened, for messages.
  virtual std::string description() const = 0;
};

}  // namespace reno
