// Reading the weights files that torch.save writes (.pt, .pth, .bin), both the zip format and the one before
// PyTorch 1.6, and the weights in what torch.jit.save writes (as OpenAI published CLIP). Such a file is a
// program for Python's unpickler; here it is data: nothing in it is run, and whatever is neither a tensor nor
// plain data is refused. Tensors are views of the mapped file.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "reno/error.hpp"
#include "reno/io/json_file.hpp"
#include "reno/io/mapped_file.hpp"
#include "reno/io/pickle_tensor.hpp"
#include "reno/io/pytorch_contents.hpp"
#include "reno/io/tensor_source.hpp"
#include "reno/io/zip_archive.hpp"

namespace reno {

struct PytorchFileOptions {
  /// Dotted path of the dictionary whose tensors are exposed, "" for the whole file. Unset, it is the first
  /// of `state_dict`, `model` and `module` that the top level has as a dictionary (training checkpoints keep
  /// the optimiser beside it), otherwise the whole file. `description()` tells which.
  std::optional<std::string> root;
};

/// One file of torch.save, little-endian, uncompressed. Names are the keys of nested dictionaries (and the
/// indices of lists) joined by '.'. Opening checks the whole structure and throws LoadError; reading is
/// zero-copy where the data is aligned for its dtype, as it is in zip files but seldom in the older format.
class PytorchFile : public TensorSource {
 public:
  explicit PytorchFile(const std::filesystem::path& path, const PytorchFileOptions& options = {})
      : file_(std::make_shared<const MappedFile>(path)), path_(path.string()) {
    PytorchContents contents = PytorchContentsReader(file_->text(), path_, options.root).read();
    root_ = std::move(contents.root);
    if (contents.tensors.empty()) throw LoadError(description() + ": holds no tensors");
    for (TensorRecord& record : contents.tensors) {
      const std::string_view storage = contents.storages.at(record.storage_key).bytes;
      add(std::move(record), storage);
    }
  }

  std::vector<std::string> names() const override { return names_; }

  const TensorInfo* find(const std::string& name) const override {
    const auto found = tensors_.find(name);
    return found == tensors_.end() ? nullptr : &found->second.info;
  }

  /// With the strides that the file gives it, which need not be contiguous.
  at::Tensor read(const std::string& name) const override {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) throw LoadError(description() + ": has no tensor " + in_quotes(name));
    return view(found->second);
  }

  std::string description() const override { return root_.empty() ? path_ : path_ + " (" + root_ + ")"; }

 private:
  struct Tensor {
    TensorInfo info;
    std::vector<std::int64_t> strides;
    std::string_view data;  ///< of the map, from the first element to behind the last
  };

  void add(TensorRecord record, std::string_view storage) {
    const std::size_t element = c10::elementSize(record.dtype);
    const std::string_view data = record.extent == 0
                                      ? std::string_view{}
                                      : storage.substr(record.offset * element, record.extent * element);
    names_.push_back(record.name);
    tensors_.emplace(std::move(record.name),
                     Tensor{{record.dtype, std::move(record.shape), path_}, std::move(record.strides), data});
  }

  at::Tensor view(const Tensor& tensor) const {
    const auto dtype = tensor.info.dtype;
    if (tensor.data.empty()) return at::empty(tensor.info.shape, at::TensorOptions(dtype));
    const auto offset = static_cast<std::size_t>(tensor.data.data() - file_->text().data());
    file_->prefetch(offset, tensor.data.size());
    if (dtype == at::kBool) return blob(tensor, at::kByte).ne(0);  // any byte but 0 and 1 is no bool
    if (reinterpret_cast<std::uintptr_t>(tensor.data.data()) % c10::elementSize(dtype) == 0)
      return blob(tensor, dtype);
    const auto extent = static_cast<std::int64_t>(tensor.data.size() / c10::elementSize(dtype));
    at::Tensor copy = at::empty({extent}, at::TensorOptions(dtype));
    std::memcpy(copy.mutable_data_ptr(), tensor.data.data(), tensor.data.size());
    file_->release(offset, tensor.data.size());
    return copy.as_strided(tensor.info.shape, tensor.strides);
  }

  at::Tensor blob(const Tensor& tensor, at::ScalarType dtype) const {
    auto* data = const_cast<char*>(tensor.data.data());  // from_blob knows no const
    const auto offset = static_cast<std::size_t>(tensor.data.data() - file_->text().data());
    const auto give_back = [file = file_, offset, bytes = tensor.data.size()](void*) {
      file->release(offset, bytes);
    };
    return at::from_blob(data, tensor.info.shape, tensor.strides, give_back, at::TensorOptions(dtype));
  }

  std::shared_ptr<const MappedFile> file_;
  std::string path_;
  std::string root_;
  std::vector<std::string> names_;
  std::unordered_map<std::string, Tensor> tensors_;
};

/// Opens and checks one file of torch.save; see PytorchFile.
inline std::shared_ptr<const TensorSource> open_pytorch_file(const std::filesystem::path& path,
                                                             const PytorchFileOptions& options = {}) {
  return std::make_shared<const PytorchFile>(path, options);
}

}  // namespace reno
