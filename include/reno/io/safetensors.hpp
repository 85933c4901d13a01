// Reading and writing .safetensors files. Reading maps the file: a tensor is a view of the map, and no byte
// of it is copied.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "reno/error.hpp"
#include "reno/io/mapped_file.hpp"
#include "reno/io/safetensors_header.hpp"
#include "reno/io/tensor_source.hpp"

namespace reno {

/// One .safetensors file. Opening checks the whole header (LoadError); reading is zero-copy where the data is
/// aligned for its dtype.
class SafetensorsFile : public TensorSource {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path)
      : file_(std::make_shared<const MappedFile>(path)) {
    auto header = safetensors::parse_header(file_->text(), path.string());
    metadata_ = std::move(header.metadata);
    names_.reserve(header.entries.size());
    tensors_.reserve(header.entries.size());
    for (auto& entry : header.entries) {
      names_.push_back(entry.name);
      Tensor tensor{
          {entry.dtype, std::move(entry.shape), path.string()}, entry.begin, entry.end - entry.begin};
      tensors_.emplace(std::move(entry.name), std::move(tensor));
    }
  }

  std::vector<std::string> names() const override { return names_; }

  const TensorInfo* find(const std::string& name) const override {
    const auto found = tensors_.find(name);
    return found == tensors_.end() ? nullptr : &found->second.info;
  }

  at::Tensor read(const std::string& name) const override {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) throw LoadError(description() + ": has no tensor " + in_quotes(name));
    return view(found->second);
  }

  std::string description() const override { return file_->path().string(); }

  /// The file's `__metadata__`.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  struct Tensor {
    TensorInfo info;
    std::size_t offset = 0;
    std::size_t bytes = 0;
  };

  at::Tensor view(const Tensor& tensor) const {
    const auto dtype = tensor.info.dtype;
    if (tensor.bytes == 0) return at::empty(tensor.info.shape, at::TensorOptions(dtype));
    file_->prefetch(tensor.offset, tensor.bytes);
    auto* data = const_cast<std::byte*>(file_->data() + tensor.offset);  // from_blob knows no const
    if (dtype == at::kBool)
      return blob(data, tensor.info.shape, at::kByte).ne(0);  // any byte but 0 and 1 is no bool
    if (tensor.offset % c10::elementSize(dtype) == 0) return blob(data, tensor.info.shape, dtype);
    auto copy = at::empty(tensor.info.shape, at::TensorOptions(dtype));
    std::memcpy(copy.mutable_data_ptr(), data, tensor.bytes);
    return copy;
  }

  at::Tensor blob(void* data, at::IntArrayRef shape, at::ScalarType dtype) const {
    return at::from_blob(
        data, shape, [file = file_](void*) {}, at::TensorOptions(dtype));
  }

  std::shared_ptr<const MappedFile> file_;
  std::map<std::string, std::string> metadata_;
  std::vector<std::string> names_;
  std::unordered_map<std::string, Tensor> tensors_;
};

/// Opens and checks one .safetensors file.
inline std::shared_ptr<const SafetensorsFile> open_safetensors(const std::filesystem::path& path) {
  return std::make_shared<const SafetensorsFile>(path);
}

}  // namespace reno
