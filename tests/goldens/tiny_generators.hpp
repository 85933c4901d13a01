// The tiny generators of the reference data, loaded as an experiment loads them.
#pragma once

#include <ATen/ATen.h>

#include <catch2/catch.hpp>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "reno/experiment/toml.hpp"
#include "reno/run/noise.hpp"
#include "support/golden.hpp"
#include "support/plugins.hpp"

namespace reno::test {

/// How each generator is told where its tiny model is: option -> path below its folder of the reference data.
inline const std::map<std::string, std::map<std::string, std::string>> tiny_models = {
    {"sd-turbo", {{"weights", "model"}}},
    {"sdxl-turbo", {{"weights", "model"}, {"vae", "vae-fp16-fix"}}},
    {"hyper-sd", {{"weights", "base"}, {"unet", "Hyper-SDXL-1step-Unet.safetensors"}}},
    {"pixart", {{"weights", "base"}, {"dmd", "dmd"}}},
    {"flux-schnell", {{"weights", "model"}}},
};

/// Folders with goldens of generators and rewards: the complete presets, or what this repository has of one.
/// Says once what is not compared for want of the others.
inline std::vector<std::filesystem::path> presets() {
  std::vector<std::filesystem::path> found;
  for (const char* preset : {"a", "b"})
    if (const auto folder = std::filesystem::path(RENO_SOURCE_DIR) / "../shared/goldens" / preset;
        std::filesystem::exists(folder))
      found.push_back(folder);
  static bool said = false;
  if (found.size() < 2 && !std::exchange(said, true))
    WARN("SKIPPED: preset b of every generator, which is not in ../shared/goldens");
  if (found.empty()) found.push_back(repository_goldens());
  return found;
}

inline std::string generator_section(const std::string& name, const std::filesystem::path& folder) {
  std::string text = fmt::format("[generator]\nplugin = \"{}\"\n", name);
  for (const auto& [option, path] : tiny_models.at(name))
    text += fmt::format("{} = \"{}\"\n", option, (folder / path).string());
  const auto golden = read_json_object(folder / "golden.json");
  if (golden.contains("size"))  // of an image that the weights do not tell
    text += fmt::format("height = {}\nwidth = {}\n", golden["size"]["height"].get<int>(),
                        golden["size"]["width"].get<int>());
  return text;
}

inline std::string reward_sections(const std::filesystem::path& rewards) {
  std::string text;
  for (const auto& [plugin, weight] :
       {std::pair("hpsv2", 5.0), std::pair("imagereward", 1.0), std::pair("clip-score", 0.01),
        std::pair("pickscore", 0.05), std::pair("aesthetic", 0.1)}) {
    const auto folder = rewards / (plugin == std::string("clip-score") ? "clip" : plugin);
    text += fmt::format("[[reward]]\nplugin = \"{}\"\nweight = {}\nweights = \"{}\"\n", plugin, weight,
                        folder.string());
  }
  return text + fmt::format("clip = \"{}\"\n", (rewards / "aesthetic/ViT-L-14.pt").string());
}

inline Experiment parse_tiny(const std::string& text) {
  return parse_experiment("[run]\ndevice = \"cpu\"\n" + text, "generators.toml", plugin_registry());
}

/// How a tiny generator is loaded.
struct LoadAs {
  std::string dtype = "float64";
  std::string memory = "balanced";
  at::Device device = at::kCPU;
  std::uint64_t seed = 0;
  std::string options = {};  ///< more lines of its section
};

inline AnyGenerator load_tiny(const std::string& name, const std::filesystem::path& folder,
                              const LoadAs& as = {}) {
  const auto experiment = parse_tiny("dtype = \"" + as.dtype + "\"\nmemory = \"" + as.memory + "\"\n" +
                                     generator_section(name, folder) + as.options +
                                     "[[reward]]\nplugin = \"clip-score\"\n");  // which is not loaded
  Context context = quiet_context(experiment);
  context.device = as.device;
  context.seed = as.seed;
  return create_component(plugin_registry().generators, name, experiment.generator.options, context);
}

/// Calls `check(name, folder)` for every registered generator and preset.
template <class Check>
void for_each_generator(const Check& check) {
  for (const auto& [name, entry] : plugin_registry().generators) {
    INFO(name);
    REQUIRE(tiny_models.contains(name));
    for (const auto& preset : presets()) {
      const auto folder = preset / "generators" / name;
      if (!std::filesystem::exists(folder / tiny_models.at(name).at("weights"))) continue;
      INFO(folder.string());
      check(name, folder);
    }
  }
}

inline at::Tensor noise_of(const AnyGenerator& generator, std::int64_t images, std::uint64_t seed = 1) {
  std::vector<at::Tensor> noises;
  for (std::int64_t i = 0; i < images; ++i)
    noises.push_back(NoiseSource(seed, static_cast<std::uint64_t>(i), generator.noise_shape()).draw());
  return at::cat(noises).to(at::kDouble);
}

inline const Prompts tiny_prompts{"a red circle", "", "two green cats and a dog"};

}  // namespace reno::test
