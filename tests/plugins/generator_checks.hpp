// What the tests of several generators share: prompts of the reference data, the gradient that it stores, and
// model directories that a test may damage.
#pragma once

#include <ATen/ATen.h>

#include <catch2/catch.hpp>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "reno/concepts.hpp"
#include "support/golden.hpp"
#include "support/temporary_folder.hpp"

namespace reno::test {

inline Prompts prompts_of(const Golden& golden) {
  Prompts prompts;
  for (const auto& prompt : golden.json["prompts"]) prompts.push_back(prompt["text"]);
  return prompts;
}

/// The token ids that the libraries make of each prompt.
inline std::vector<std::vector<std::int64_t>> ids_of(const Golden& golden, const std::string& tokenizer) {
  std::vector<std::vector<std::int64_t>> ids;
  for (const auto& prompt : golden.json["tokens"][tokenizer]["prompts"]) ids.push_back(prompt["ids"]);
  return ids;
}

struct ImageAndGradient {
  at::Tensor image;
  at::Tensor gradient;  ///< of sum(image · weights) in the noise
};

template <Generator G>
ImageAndGradient image_and_gradient(const Golden& golden, G& generator, at::ScalarType dtype = at::kFloat) {
  const auto noise = golden["latents"].to(dtype, /*non_blocking=*/false, /*copy=*/true).requires_grad_(true);
  const auto image = generator.generate(noise, generator.encode({prompts_of(golden)[0]}));
  (image * golden["weights"]).sum().backward();
  return {image.detach(), noise.grad()};
}

/// A copy of a directory that a test may change.
inline std::filesystem::path writable_copy(const std::filesystem::path& source, const TemporaryFolder& folder,
                                           const std::string& name = "model") {
  namespace fs = std::filesystem;
  const auto copy = folder / name;
  fs::copy(source, copy, fs::copy_options::recursive);
  for (const auto& entry : fs::recursive_directory_iterator(copy))
    fs::permissions(entry, fs::perms::owner_write, fs::perm_options::add);
  return copy;
}

inline void replace_in_file(const std::filesystem::path& file, const std::string& from,
                            const std::string& to) {
  std::string content = read_file(file);
  const auto at = content.find(from);
  REQUIRE(at != std::string::npos);
  std::ofstream(file) << content.replace(at, from.size(), to);
}

}  // namespace reno::test
