// A model directory in diffusers' layout: one folder per component (unet/, vae/, text_encoder/, tokenizer/,
// …), each with its configuration and weights.
#pragma once

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "reno/context.hpp"
#include "reno/error.hpp"
#include "reno/io/checkpoint.hpp"
#include "reno/io/config.hpp"
#include "reno/io/weights.hpp"

namespace reno {

class Pretrained {
 public:
  /// `id_or_path` as for resolve_checkpoint; `variant` ("fp16") chooses among weights files, empty: the plain
  /// ones or the only variant that is there. Throws LoadError when there is no such directory.
  Pretrained(const std::filesystem::path& id_or_path, std::string variant, const Context& context)
      : folder_(resolve_checkpoint(id_or_path.string(), context.search_paths)),
        variant_(std::move(variant)),
        context_(context) {
    if (!std::filesystem::is_directory(folder_))
      throw LoadError(
          fmt::format("{}: is not a directory, expected a model in diffusers' layout (unet/, vae/, …)",
                      folder_.string()));
  }

  const std::filesystem::path& folder() const { return folder_; }

  /// The folder of a component. Throws LoadError that lists what there is instead.
  std::filesystem::path component(const std::string& name) const {
    const auto path = folder_ / name;
    if (std::filesystem::is_directory(path)) return path;
    std::vector<std::string> have;
    for (const auto& entry : std::filesystem::directory_iterator(folder_))
      if (entry.is_directory()) have.push_back(entry.path().filename().string());
    std::sort(have.begin(), have.end());
    throw LoadError(fmt::format(
        "{}: has no folder '{}/', expected a model in diffusers' layout; it has {}", folder_.string(), name,
        have.empty() ? "no folders" : fmt::format("{}", fmt::join(have, "/, ")) + "/"));
  }

  Config config(const std::string& name, const std::string& file = "config.json") const {
    return Config::read(component(name) / file);
  }

  /// Builds a component from its weights on the context's device and in its dtype. `stem` is the library's
  /// name for weights files ("model" for transformers, "diffusion_pytorch_model" for diffusers). Tensors that
  /// nobody asked for are reported, but for those whose names begin with one of `not_needed`.
  template <class Model, class ModelConfig>
  Model load(const std::string& name, const std::string& stem, const ModelConfig& config,
             const std::vector<std::string>& not_needed = {}) const {
    const Weights weights(open_checkpoint(component(name), stem, variant_), context_.device, context_.dtype);
    Model model(weights, config);
    report_unused(weights, not_needed);
    return model;
  }

 private:
  void report_unused(const Weights& weights, const std::vector<std::string>& not_needed) const {
    auto names = weights.unused();
    std::erase_if(names, [&](const std::string& name) {
      return std::any_of(not_needed.begin(), not_needed.end(),
                         [&](const auto& prefix) { return name.starts_with(prefix); });
    });
    if (names.empty() || !context_.log) return;
    const std::size_t shown = std::min<std::size_t>(names.size(), 8);
    context_.log->warn("{}: {} tensors are not used: {}{}", weights.description(), names.size(),
                       fmt::join(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(shown), ", "),
                       names.size() > shown ? ", …" : "");
  }

  std::filesystem::path folder_;
  std::string variant_;
  Context context_;
};

}  // namespace reno
