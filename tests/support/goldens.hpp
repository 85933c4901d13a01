// Reference numbers made by the Python libraries: where they are, how to read them, how to compare. Every
// comparison prints the deviation that it found, so that a test's output is also a record of accuracy.
#pragma once

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "reno/io/safetensors.hpp"

namespace reno::test {

/// One folder with golden.safetensors and golden.json.
class Golden {
 public:
  Golden(std::string name, std::filesystem::path folder)
      : name_(std::move(name)),
        folder_(std::move(folder)),
        tensors_(open_safetensors(folder_ / "golden.safetensors")),
        json_(nlohmann::json::parse(std::ifstream(folder_ / "golden.json"))) {}

  const std::string& name() const { return name_; }
  const std::filesystem::path& folder() const { return folder_; }
  const nlohmann::json& json() const { return json_; }
  at::Tensor operator[](const std::string& tensor) const { return tensors_->read(tensor); }

 private:
  std::string name_;
  std::filesystem::path folder_;
  std::shared_ptr<const SafetensorsFile> tensors_;
  nlohmann::json json_;
};

/// The reference folders of one component, for example "generators/sd-turbo": preset a from this repository,
/// and preset b if the full set of reference numbers stands beside it; else a line says that it was skipped.
inline std::vector<Golden> goldens(const std::string& component) {
  namespace fs = std::filesystem;
  std::vector<Golden> found;
  found.emplace_back(component + " a", fs::path(RENO_TEST_DATA) / "goldens/a" / component);
  const auto b = fs::path(RENO_SOURCE_DIR) / "../shared/goldens/b" / component;
  if (fs::exists(b))
    found.emplace_back(component + " b", b);
  else
    std::printf("SKIPPED preset b of %s: %s is not there\n", component.c_str(), b.c_str());
  return found;
}

inline void check_deviation(const std::string& what, const char* measure, double deviation, double allowed) {
  std::printf("  %-70s %-9s %.1e (allowed %.0e)\n", what.c_str(), measure, deviation, allowed);
  INFO(what << " " << measure);
  CHECK(deviation <= allowed);
}

/// Largest difference of two elements.
inline void check_absolute(const std::string& what, const at::Tensor& got, const at::Tensor& expected,
                           double allowed) {
  INFO(what);
  REQUIRE(got.sizes() == expected.sizes());
  check_deviation(what, "absolute", (got - expected).abs().max().item<double>(), allowed);
}

/// Largest difference of two elements, as a fraction of the largest element.
inline void check_to_largest(const std::string& what, const at::Tensor& got, const at::Tensor& expected,
                             double allowed) {
  INFO(what);
  REQUIRE(got.sizes() == expected.sizes());
  const auto largest = expected.abs().max().item<double>();
  check_deviation(what, "of max", (got - expected).abs().max().item<double>() / largest, allowed);
}

/// Norm of the difference, as a fraction of the norm.
inline void check_relative_norm(const std::string& what, const at::Tensor& got, const at::Tensor& expected,
                                double allowed) {
  INFO(what);
  REQUIRE(got.sizes() == expected.sizes());
  check_deviation(what, "rel. L2", ((got - expected).norm() / expected.norm()).item<double>(), allowed);
}

}  // namespace reno::test
