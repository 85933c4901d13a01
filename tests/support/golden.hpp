// Reference numbers of the Python libraries: where they lie, how they are read and compared. Preset a is in
// the repository, cut down; the complete presets a and b may lie beside the checkout (../shared/goldens), and
// tests then run over them too. The largest deviation of each quantity is printed when the program ends.
#pragma once

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "reno/io/json_file.hpp"
#include "reno/io/safetensors.hpp"
#include "support/drawn_models.hpp"

namespace reno::test {

/// How far a result is from its reference.
enum class Measure {
  absolute,       ///< largest |got - expected|
  of_largest,     ///< the same, divided by the largest |expected|
  relative_norm,  ///< |got - expected| / |expected|, 2-norms
};

inline double deviation(const at::Tensor& got, const at::Tensor& expected, Measure measure) {
  const auto reference = expected.to(at::kDouble);
  const auto difference = got.detach().to(at::kCPU).to(at::kDouble) - reference;
  if (difference.numel() == 0) return 0;
  if (measure == Measure::relative_norm) return (difference.norm() / reference.norm()).item<double>();
  const auto largest = difference.abs().max().item<double>();
  return measure == Measure::absolute ? largest : largest / reference.abs().max().item<double>();
}

/// The largest deviation seen per quantity, printed by the destructor.
class Deviations {
 public:
  static Deviations& instance() {
    static Deviations deviations;
    return deviations;
  }

  void record(const std::string& quantity, double deviation, double tolerance) {
    auto& seen = seen_.try_emplace(quantity, Seen{0, tolerance}).first->second;
    seen.largest = std::max(seen.largest, deviation);
    seen.tolerance = std::min(seen.tolerance, tolerance);
  }

  ~Deviations() {
    for (const auto& [quantity, seen] : seen_)
      std::printf("largest deviation  %-44s %9.2e of %9.2e\n", quantity.c_str(), seen.largest,
                  seen.tolerance);
  }

 private:
  struct Seen {
    double largest;
    double tolerance;
  };
  std::map<std::string, Seen> seen_;
};

/// Fails the test unless the deviation is within the tolerance; a NaN is not.
inline void check_deviation(const std::string& quantity, double distance, double tolerance) {
  INFO(quantity);
  Deviations::instance().record(quantity, distance, tolerance);
  CHECK(distance <= tolerance);
}

/// Fails the test unless `got` has the shape of `expected` and is within the tolerance; a NaN is not.
inline void check_close(const std::string& quantity, const at::Tensor& got, const at::Tensor& expected,
                        Measure measure, double tolerance) {
  INFO(quantity);
  REQUIRE(got.sizes() == expected.sizes());
  check_deviation(quantity, deviation(got, expected, measure), tolerance);
}

/// Largest difference of two elements.
inline void check_absolute(const std::string& quantity, const at::Tensor& got, const at::Tensor& expected,
                           double tolerance) {
  check_close(quantity, got, expected, Measure::absolute, tolerance);
}

/// Largest difference of two elements, as a fraction of the largest element.
inline void check_to_largest(const std::string& quantity, const at::Tensor& got, const at::Tensor& expected,
                             double tolerance) {
  check_close(quantity, got, expected, Measure::of_largest, tolerance);
}

/// Norm of the difference, as a fraction of the norm.
inline void check_relative_norm(const std::string& quantity, const at::Tensor& got,
                                const at::Tensor& expected, double tolerance) {
  check_close(quantity, got, expected, Measure::relative_norm, tolerance);
}

/// One folder of reference data: a checkpoint and what the libraries compute from it.
struct Golden {
  std::string name;                                ///< component and preset, for messages
  std::string preset;                              ///< "a", "a (complete)" or "b"
  std::filesystem::path folder;                    ///< of this component, for example …/a/rewards/clip
  nlohmann::json json;                             ///< golden.json
  std::shared_ptr<const SafetensorsFile> tensors;  ///< golden.safetensors

  bool has(const std::string& name) const { return tensors->find(name) != nullptr; }
  at::Tensor operator[](const std::string& name) const { return tensors->read(name); }
};

/// Every preset of a component ("rewards/clip") that is present; says so when the complete ones are not.
inline std::vector<Golden> goldens(const std::string& component) {
  namespace fs = std::filesystem;
  const fs::path beside = fs::path(RENO_SOURCE_DIR) / "../shared/goldens";
  std::vector<Golden> found;
  const auto add = [&](const std::string& preset, const fs::path& folder) {
    if (!fs::exists(folder / "golden.json")) return;
    found.push_back({component + " " + preset, preset, folder, read_json_object(folder / "golden.json"),
                     open_safetensors(folder / "golden.safetensors")});
  };
  add("a", repository_goldens() / component);
  add("a (complete)", beside / "a" / component);
  add("b", beside / "b" / component);
  if (found.empty()) FAIL("no reference data for " << component);
  if (found.back().preset != "b")
    WARN("SKIPPED for " << component << ": preset b, which is not in ../shared/goldens");
  return found;
}

}  // namespace reno::test
