// The tensors of a TorchScript archive, the form in which OpenAI published CLIP (ViT-L-14.pt): parameters and
// buffers by their names in the module. LibTorch's own loader reads the archive; unlike a state dict it is a
// program, written in the TorchScript language, whose module is set up by that loader but never called.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "reno/error.hpp"
#include "reno/io/json_file.hpp"
#include "reno/io/tensor_source.hpp"

namespace reno {

class TorchScriptFile : public TensorSource {
 public:
  /// Reads the whole file to the CPU. Throws LoadError when it is missing or no TorchScript archive.
  explicit TorchScriptFile(const std::filesystem::path& path) : path_(path.string()) {
    const auto add = [&](const std::string& name, const at::Tensor& tensor) {
      const auto values = tensor.detach();
      names_.push_back(name);
      tensors_.emplace(name,
                       std::pair(TensorInfo{values.scalar_type(), values.sizes().vec(), path_}, values));
    };
    try {
      const auto module = torch::jit::load(path_, at::Device(at::kCPU));
      for (const auto& parameter : module.named_parameters()) add(parameter.name, parameter.value);
      for (const auto& buffer : module.named_buffers()) add(buffer.name, buffer.value);
    } catch (const c10::Error& error) {
      throw LoadError(path_ + ": cannot be read as a TorchScript archive: " +
                      std::string(error.what_without_backtrace()));
    }
  }

  std::vector<std::string> names() const override { return names_; }

  const TensorInfo* find(const std::string& name) const override {
    const auto found = tensors_.find(name);
    return found == tensors_.end() ? nullptr : &found->second.first;
  }

  at::Tensor read(const std::string& name) const override {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) throw LoadError(path_ + ": has no tensor " + in_quotes(name));
    return found->second.second;
  }

  std::string description() const override { return path_; }

 private:
  std::string path_;
  std::vector<std::string> names_;
  std::map<std::string, std::pair<TensorInfo, at::Tensor>> tensors_;
};

}  // namespace reno
