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

class Pretrained {
 public:
  /// `id_or_path` as for resolve_checkpoint; `variant` ("fp16") chooses among weights files, empty: the plain
  /// ones or the only variant that is there. Throws LoadError when there is no such directory.
  Pretrained(const std::filesystem::path& id_or_path, std::string variant, const Context& context)
      : folder_(resolve_checkpoint(id_or_path.string(), context.search_paths)), variant_(std::move(variant)) {
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

  /// The weights of a component. `stem` is the library's name for such files: "model" for transformers,
  /// "diffusion_pytorch_model" for diffusers.
  std::shared_ptr<const TensorSource> source(const std::string& name, const std::string& stem) const {
    return open_checkpoint(component(name), stem, variant_);
  }

 private:
  std::filesystem::path folder_;
  std::string variant_;
};

}  // namespace reno
