// Reading and writing .safetensors files. Reading maps the file: a tensor is a view of the map, and no byte
// of it is copied.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "reno/error.hpp"
#include "reno/io/atomic_file.hpp"
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
    if (dtype == at::kBool) return blob(tensor, data, at::kByte).ne(0);  // any byte but 0 and 1 is no bool
    if (tensor.offset % c10::elementSize(dtype) == 0) return blob(tensor, data, dtype);
    auto copy = at::empty(tensor.info.shape, at::TensorOptions(dtype));
    std::memcpy(copy.mutable_data_ptr(), data, tensor.bytes);
    file_->release(tensor.offset, tensor.bytes);
    return copy;
  }

  at::Tensor blob(const Tensor& tensor, void* data, at::ScalarType dtype) const {
    const auto give_back = [file = file_, offset = tensor.offset, bytes = tensor.bytes](void*) {
      file->release(offset, bytes);
    };
    return at::from_blob(data, tensor.info.shape, give_back, at::TensorOptions(dtype));
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

namespace safetensors::detail {

/// Largest elements first, so that every tensor is aligned for its dtype; then by name, so that equal content
/// gives equal files.
inline std::vector<std::pair<std::string, at::Tensor>> layout(
    const std::map<std::string, at::Tensor>& tensors, const std::string& file) {
  std::vector<std::pair<std::string, at::Tensor>> ordered;
  for (const auto& [name, tensor] : tensors) {
    if (name == "__metadata__")
      throw RunError(file + ": the name __metadata__ is reserved, no tensor can have it");
    if (!tensor.defined()) throw RunError(file + ": tensor " + in_quotes(name) + " is undefined");
    if (!name_of(tensor.scalar_type()))
      throw RunError(file + ": tensor " + in_quotes(name) + " has dtype " +
                     at::toString(tensor.scalar_type()) + ", which safetensors files cannot hold");
    ordered.emplace_back(name, tensor);
  }
  std::stable_sort(ordered.begin(), ordered.end(), [](const auto& left, const auto& right) {
    return left.second.element_size() > right.second.element_size();
  });
  return ordered;
}

}  // namespace safetensors::detail

/// Writes tensors (any device, any strides) and string metadata as one .safetensors file, atomically. Throws
/// RunError.
inline void write_safetensors(const std::filesystem::path& path,
                              const std::map<std::string, at::Tensor>& tensors,
                              const std::map<std::string, std::string>& metadata = {}) {
  const auto ordered = safetensors::detail::layout(tensors, path.string());
  auto header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::size_t offset = 0;
  for (const auto& [name, tensor] : ordered) {
    const std::size_t end = offset + tensor.nbytes();
    header[name] = {{"dtype", *safetensors::name_of(tensor.scalar_type())},
                    {"shape", tensor.sizes().vec()},
                    {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::type_error&) {
    throw RunError(path.string() + ": a tensor's name or the metadata is not valid UTF-8");
  }
  text.resize((text.size() + 8 + 63) / 64 * 64 - 8, ' ');  // the data begins at a multiple of 64
  if (text.size() > safetensors::max_header_bytes)
    throw RunError(path.string() + ": the header is larger than the format allows");
  const std::uint64_t length = text.size();

  AtomicFile file(path);
  file.write({reinterpret_cast<const char*>(&length), sizeof length});
  file.write(text);
  for (const auto& [name, tensor] : ordered) {
    const auto data = tensor.detach().cpu().contiguous();
    file.write({static_cast<const char*>(data.const_data_ptr()), data.nbytes()});
  }
  file.commit();
}

}  // namespace reno
