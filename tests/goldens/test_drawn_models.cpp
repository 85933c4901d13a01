// The models of the reference data that are drawn instead of stored are what the libraries' numbers were made
// with.
#include <ATen/ATen.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <string>

#include "support/golden.hpp"

using namespace reno;
using namespace reno::test;
namespace fs = std::filesystem;

TEST_CASE("weights that are drawn are those of the complete reference data, bit for bit", "[goldens]") {
  const fs::path complete = fs::path(RENO_SOURCE_DIR) / "../shared/goldens/a/generators";
  if (!fs::exists(complete)) {
    WARN("SKIPPED: the complete models are not in ../shared/goldens");
    return;
  }
  for (const std::string name : {"sdxl-turbo", "hyper-sd", "flux-schnell"}) {
    int tensors = 0;
    const auto model = repository_goldens() / "generators" / name;
    for (const auto& entry : fs::recursive_directory_iterator(model)) {
      const auto file = fs::relative(entry.path(), model);
      if (file.extension() != ".safetensors" || file == "stored.safetensors" || file == "golden.safetensors")
        continue;
      INFO(name << ", " << file);
      const auto ours = open_safetensors(entry.path()), theirs = open_safetensors(complete / name / file);
      CHECK(ours->names().size() == theirs->names().size());
      for (const auto& tensor : theirs->names()) {
        INFO(tensor);
        CHECK(at::equal(ours->read(tensor), theirs->read(tensor)));
        ++tensors;
      }
    }
    CHECK(tensors > 300);
  }
}
