// The noise that an image begins with: the seed's, or the one of `noise.init`.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <vector>

#include "reno/experiment/experiment.hpp"
#include "reno/io/safetensors.hpp"
#include "reno/run/noise.hpp"
#include "reno/run/prompts.hpp"

namespace reno {

class InitialNoise {
 public:
  /// Reads `noise.init` where it is set. Its shape is checked against the generator's when that is known.
  InitialNoise(const Experiment& experiment, const std::vector<std::filesystem::path>& search_paths) {
    if (!experiment.noise.init) return;
    const auto file = find_input(*experiment.noise.init, search_paths, "noise.init");
    const auto source = open_safetensors(file);
    if (source->find("noise") == nullptr)
      throw LoadError(fmt::format("{}: there is no tensor \"noise\"", file.string()));
    fixed_ = source->read("noise").to(at::kFloat);
  }

  /// Of one image, (1, ...) float32 on the CPU. The stream moves on in any case.
  at::Tensor operator()(NoiseSource& source) const {
    const at::Tensor drawn = source.draw();
    if (!fixed_.defined()) return drawn;
    const at::Tensor noise = fixed_.dim() == drawn.dim() ? fixed_ : fixed_.unsqueeze(0);
    if (noise.sizes() != drawn.sizes()) {
      throw ConfigurationError(fmt::format("noise.init has shape [{}], but the generator needs [{}]",
                                           fmt::join(fixed_.sizes(), ", "), fmt::join(drawn.sizes(), ", ")));
    }
    return noise.clone();
  }

 private:
  at::Tensor fixed_;  ///< undefined where the seed's noise is used
};

}  // namespace reno
