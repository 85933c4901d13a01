// Models of the reference data whose weights are not stored: they were drawn from seeded normal
// distributions, so weights.json tells how, tensor by tensor in order, and stored.safetensors has those few
// that were scaled afterwards. LibTorch draws the numbers that PyTorch drew.
#pragma once

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "reno/io/json_file.hpp"
#include "reno/io/safetensors.hpp"
#include "support/temporary_folder.hpp"

namespace reno::test {

/// One tensor: its name and shape, and unless it is stored by what its random numbers are multiplied, by the
/// root of what they are divided, and what is added.
inline at::Tensor draw_tensor(const nlohmann::json& step, const at::Tensor& noise) {
  auto value = noise * step.at(2).get<double>();
  if (const auto fan_in = step.at(3).get<double>(); fan_in != 1) value = value / std::sqrt(fan_in);
  if (const auto summand = step.at(4).get<double>(); summand != 0) value = value + summand;
  return value;
}

/// Writes the weights into a copy of such a model's folder.
inline void draw_weights(const std::filesystem::path& folder) {
  const auto stored = open_safetensors(folder / "stored.safetensors");
  const nlohmann::json recipes = read_json_object(folder / "weights.json");
  for (const auto& [stem, recipe] : recipes.items()) {
    const auto shards = folder / (stem + ".safetensors.index.json");
    nlohmann::json shard_of;
    if (std::filesystem::exists(shards)) shard_of = read_json_object(shards).at("weight_map");
    const auto generator = at::detail::createCPUGenerator(recipe.at("seed").get<std::uint64_t>());
    std::map<std::filesystem::path, std::map<std::string, at::Tensor>> files;
    for (const auto& step : recipe.at("tensors")) {
      const auto name = step.at(0).get<std::string>();
      const auto noise = at::randn(step.at(1).get<std::vector<std::int64_t>>(), generator);
      const auto file = shard_of.is_null() ? folder / (stem + ".safetensors")
                                           : shards.parent_path() / shard_of.at(name).get<std::string>();
      files[file][name] = step.size() > 2 ? draw_tensor(step, noise) : stored->read(stem + ":" + name);
    }
    for (const auto& [file, tensors] : files) write_safetensors(file, tensors, {{"format", "pt"}});
  }
}

/// The reference data in this repository (preset a, cut down), with all weights: those that are drawn lie in
/// a folder that is gone when the program ends.
inline const std::filesystem::path& repository_goldens() {
  namespace fs = std::filesystem;
  static const TemporaryFolder folder;
  static const fs::path root = [] {
    const auto stored = fs::path(RENO_TEST_DATA) / "goldens/a";
    const auto all = folder / "a";
    fs::create_directories(all / "generators");
    for (const auto& entry : fs::directory_iterator(stored))
      if (entry.path().filename() != "generators")
        fs::create_directory_symlink(entry.path(), all / entry.path().filename());
    for (const auto& entry : fs::directory_iterator(stored / "generators")) {
      const auto model = all / "generators" / entry.path().filename();
      if (!fs::exists(entry.path() / "weights.json")) {
        fs::create_directory_symlink(entry.path(), model);
        continue;
      }
      fs::copy(entry.path(), model, fs::copy_options::recursive);
      draw_weights(model);
    }
    return all;
  }();
  return root;
}

}  // namespace reno::test
