// A module that PyTorch scripted or traced: loaded, called, and its failures put into one sentence each.
// Such a file is a program in the TorchScript language; loading and calling it runs what it says.
#pragma once

#include <ATen/core/Tensor.h>
#include <fmt/format.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/csrc/jit/serialization/import.h>

#include <algorithm>
#include <cstddef>
#include <exception>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "reno/error.hpp"

namespace reno {

class ScriptedModule {
 public:
  /// Reads the file onto `device`, in evaluation mode, its floating-point parameters and buffers as `dtype`.
  /// Throws LoadError when it is no such file or lacks `forward`.
  ScriptedModule(const std::filesystem::path& file, c10::Device device, c10::ScalarType dtype)
      : file_(file.string()), module_(load(file_, device)) {
    if (!has("forward")) throw LoadError(file_ + ": the module has no method forward");
    module_.eval();
    for (const at::Tensor& parameter : module_.parameters()) parameter.requires_grad_(false);
    // Not module.to(dtype): that would make floating-point numbers of indices, too.
    for (const at::Tensor& parameter : module_.parameters()) convert(parameter, dtype);
    for (const at::Tensor& buffer : module_.buffers()) convert(buffer, dtype);
  }

  const std::string& file() const { return file_; }

  bool has(const std::string& method) const { return module_.find_method(method).has_value(); }

  /// Throws LoadError unless `method` can be called with `count` arguments.
  void require_arguments(const std::string& method, std::size_t count, const std::string& meaning) const {
    const auto schema = module_.get_method(method).function().getSchema();
    const auto& arguments = schema.arguments();  // the first is the module itself
    std::size_t needed = 0;
    for (const auto& argument : arguments) needed += argument.default_value() ? 0 : 1;
    if (needed <= count + 1 && count + 1 <= arguments.size()) return;
    throw LoadError(fmt::format("{}: {} takes {} argument{}, but is called with {}: {}", file_, method,
                                arguments.size() - 1, arguments.size() == 2 ? "" : "s", count, meaning));
  }

  /// Throws RunError with what the program says when it fails.
  c10::IValue call(const std::string& method, std::vector<c10::IValue> inputs) const {
    // The optimising executor changes the order of operations after the first calls, and results with it.
    const torch::jit::GraphOptimizerEnabledGuard as_written(false);
    try {
      return module_.get_method(method)(std::move(inputs));
    } catch (const std::exception& error) {
      throw RunError(fmt::format("{}: {} failed: {}", file_, method, cause(message(error))));
    }
  }

 private:
  static torch::jit::Module load(const std::string& file, c10::Device device) {
    try {
      return torch::jit::load(file, device);
    } catch (const std::exception& error) {
      std::string reason = first_line(message(error));
      reason.resize(
          std::min(reason.size(), reason.find(". This is an internal")));  // it blames the file system
      throw LoadError(
          fmt::format("{}: is no module written by torch.jit.save (a state dict is none): {}", file, reason));
    }
  }

  static std::string message(const std::exception& error) {
    const auto* of_torch = dynamic_cast<const c10::Error*>(&error);
    return of_torch != nullptr ? of_torch->what_without_backtrace() : error.what();
  }

  static void convert(const at::Tensor& tensor, c10::ScalarType dtype) {
    if (tensor.is_floating_point()) tensor.set_data(tensor.to(dtype));
  }

  static std::string first_line(const std::string& text) {
    const auto begin = std::min(text.find_first_not_of('\n'), text.size());
    return text.substr(begin, std::min(text.find('\n', begin), text.size()) - begin);
  }

  /// What went wrong, which the interpreter tells after a traceback: the line of its "RuntimeError", or the
  /// last line, where an exception that the program raised stands.
  static std::string cause(const std::string& text) {
    constexpr std::string_view label = "\nRuntimeError: ";
    if (const auto found = text.rfind(label); found != std::string::npos)
      return first_line(text.substr(found + label.size()));
    const auto end = text.find_last_not_of('\n') + 1;  // 0 where there is nothing else
    const auto begin = text.substr(0, end).rfind('\n') + 1;
    return text.substr(begin, end - begin);
  }

  std::string file_;
  mutable torch::jit::Module module_;  ///< looking up a method is not const
};

}  // namespace reno
