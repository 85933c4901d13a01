// Names and shapes of the published full-size checkpoints (tests/data/manifests): a network built on the
// shape recorder must ask for exactly these.
#pragma once

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "reno/io/config.hpp"
#include "reno/io/weights.hpp"

namespace reno::test {

/// The names and shapes of a manifest in this repository.
inline TensorShapes manifest_shapes(const std::string& name) {
  const auto file = std::filesystem::path(RENO_TEST_DATA) / "manifests" / (name + ".manifest.json");
  return nlohmann::json::parse(std::ifstream(file)).at("parameters").get<TensorShapes>();
}

/// Builds the network by `build(Weights, Config)` and compares every name and shape. A manifest outside this
/// repository is looked for beside it; `skip` has the prefixes of names that the network leaves alone.
template <class Build>
void check_manifest(const std::string& name, const Build& build, const std::vector<std::string>& skip = {}) {
  namespace fs = std::filesystem;
  fs::path folder = fs::path(RENO_TEST_DATA) / "manifests";
  if (!fs::exists(folder / (name + ".manifest.json")))
    folder = fs::path(RENO_SOURCE_DIR) / "../shared/goldens/manifests";
  if (!fs::exists(folder / (name + ".manifest.json"))) {
    std::printf("SKIPPED manifest %s: it is not there\n", name.c_str());
    return;
  }
  INFO(name);
  const auto manifest = nlohmann::json::parse(std::ifstream(folder / (name + ".manifest.json")));
  const auto all = manifest.at("parameters").get<TensorShapes>();
  const auto recorder = std::make_shared<ShapeRecorder>(all);
  const Weights weights(recorder, at::kMeta, at::kFloat);
  build(weights, Config::read(folder / (name + ".config.json")));  // asserts that each tensor is there
  const auto skipped = [&](const std::string& tensor) {
    return std::any_of(skip.begin(), skip.end(),
                       [&](const auto& prefix) { return tensor.starts_with(prefix); });
  };
  const auto wanted = static_cast<std::size_t>(
      std::count_if(all.begin(), all.end(), [&](const auto& item) { return !skipped(item.first); }));
  for (const auto& unused : weights.unused())
    if (!skipped(unused)) FAIL_CHECK("not asked for: " << unused);
  CHECK(recorder->recorded().size() == wanted);
  std::printf("  manifest %s: %zu tensors\n", name.c_str(), wanted);
}

}  // namespace reno::test
