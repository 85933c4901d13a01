// Reference data of the tokenisers: preset a in the repository, the complete presets beside the checkout.
#pragma once

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "reno/io/json_file.hpp"

namespace reno::test {

inline const std::filesystem::path text_data = std::filesystem::path(RENO_TEST_DATA) / "text";

/// Folders "…/generators/<name>" with a golden.json that match "<preset>/generators/*" beside the checkout.
inline std::vector<std::filesystem::path> complete_generators() {
  std::vector<std::filesystem::path> found;
  for (const char* preset : {"a", "b"}) {
    const auto folder = std::filesystem::path(RENO_SOURCE_DIR) / "../shared/goldens" / preset / "generators";
    if (!std::filesystem::exists(folder)) {
      WARN("skipped: the complete preset " << preset << ", which is not beside the checkout");
      continue;
    }
    for (const auto& entry : std::filesystem::directory_iterator(folder)) found.push_back(entry.path());
  }
  return found;
}

inline void write(const std::filesystem::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

}  // namespace reno::test
