// A model directory in diffusers' layout: one folder per component (unet/, vae/, text_encoder/, tokenizer/,
// …), each with its configuration and weights.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "reno/context.hpp"
#include "reno/error.hpp"
#include "reno/io/checkpoint.hpp"
#include "reno/io/config.hpp"
#include "reno/io/tensor_source.hpp"

namespace reno {

/// Whether a model must have the variant of weights files that is asked for, in one component at least.
enum class Variant { required, preferred };

class Pretrained {
 public:
  static constexpr const char* variant_help =
      "which weights files, for example fp16; a component that has none of them gives its plain ones, which "
      "is "
      "said; empty: the plain ones, or the only variant that is there";

  /// `id_or_path` as for resolve_checkpoint; `variant` ("fp16") chooses among weights files, empty: the plain
  /// ones or the only variant that is there. As in diffusers, a component without the variant gives its plain
  /// files. Throws LoadError when there is no such directory, or no component has a variant that is required.
  Pretrained(const std::filesystem::path& id_or_path, std::string variant, const Context& context,
             Variant wish = Variant::required)
      : folder_(resolve_checkpoint(id_or_path.string(), context.search_paths)),
        variant_(std::move(variant)),
        log_(context.log) {
    if (!std::filesystem::is_directory(folder_))
      throw LoadError(
          fmt::format("{}: is not a directory, expected a model in diffusers' layout (unet/, vae/, …)",
                      folder_.string()));
    if (!variant_.empty() && wish == Variant::required && !has_variant())
      throw LoadError(fmt::format(
          "{}: no component has weights of the variant '{}'; without `variant` the plain ones are taken",
          folder_.string(), variant_));
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

  /// The weights of a component. `stem` is the library's name for such files: "model" for transformers,
  /// "diffusion_pytorch_model" for diffusers.
  std::shared_ptr<const TensorSource> source(const std::string& name, const std::string& stem) const {
    const auto directory = component(name);
    if (variant_.empty() || has_checkpoint(directory, stem, variant_) || !has_checkpoint(directory, stem, ""))
      return open_checkpoint(directory, stem, variant_);
    if (log_)
      log_->warn("{}: there is no variant '{}' of {}, the plain weights are taken", directory.string(),
                 variant_, stem);
    return open_checkpoint(directory, stem);
  }

 private:
  bool has_variant() const {
    for (const auto& entry : std::filesystem::directory_iterator(folder_))
      if (entry.is_directory())
        for (const char* stem : {"diffusion_pytorch_model", "model"})
          if (has_checkpoint(entry.path(), stem, variant_)) return true;
    return false;
  }

  std::filesystem::path folder_;
  std::string variant_;
  std::shared_ptr<spdlog::logger> log_;
};

}  // namespace reno
