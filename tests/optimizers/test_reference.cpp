// Every optimizer against PyTorch's, run by run. The reference says how far a run is determined at all: line
// searches branch on rounding, so L-BFGS is compared in float64.
#include <ATen/ATen.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "optimizers/problems.hpp"
#include "reno/registry.hpp"
#include "support/golden.hpp"

namespace {

using namespace reno::test;
using nlohmann::json;

/// The options of a reference run, set by key as an experiment file would.
reno::AnyOptions options_of(const json& run, reno::AnyOptions options) {
  for (auto& field : options.fields()) {
    if (field.key == "grad_clip")
      field.set(run.at("grad_clip").is_null() ? 0.0 : run.at("grad_clip").get<double>());
    if (!run.at("options").contains(field.key)) continue;
    const json& value = run.at("options").at(field.key);
    if (field.type == reno::OptionType::boolean) field.set(value.get<bool>());
    if (field.type == reno::OptionType::integer) field.set(value.get<std::int64_t>());
    if (field.type == reno::OptionType::number) field.set(value.get<double>());
  }
  // Newer Python releases give a line search what is left of the step.
  if (run.at("name") == "lbfgs_lr1_python") {
    for (auto& field : options.fields())
      if (field.key == "max_evaluations_line_search") field.set(std::int64_t{0});
  }
  return options;
}

struct Tolerance {
  double noise;
  std::int64_t evaluations;  ///< by how many a step's count may differ
  std::int64_t steps;        ///< how many are compared
};

Tolerance tolerance_of(const std::string& run, std::int64_t steps) {
  if (!run.starts_with("lbfgs")) return {1e-5, 0, steps};
  if (run == "lbfgs_lr0.1") return {1e-6, 2, 1};
  return {1e-9, 2, steps};
}

struct Trajectory {
  std::vector<at::Tensor> noise;  ///< after each step
  std::vector<at::Tensor> loss;   ///< before each step
  std::vector<std::int64_t> evaluations;
};

Trajectory reproduce(const json& run, const Golden& golden, at::ScalarType dtype) {
  reno::Registry registry;
  reno::register_builtin_optimizers(registry);
  const auto& entry = registry.optimizers.at(run.at("optimizer"));
  auto optimizer = entry.create(options_of(run, entry.options()), {});
  std::int64_t calls = 0;
  const auto evaluate = batched(
      quartic_bowl(golden["a"].to(dtype), golden["b"].to(dtype), golden["quartic"].item<double>()), &calls);
  Trajectory trajectory;
  at::Tensor noise = golden["x0"].to(dtype).clone().unsqueeze(0);
  for (int i = 0; i < run.at("steps"); ++i) {
    calls = 0;
    const reno::Evaluation first = evaluate(noise);
    optimizer.step(noise, first, evaluate);
    trajectory.loss.push_back(first.loss[0]);
    trajectory.noise.push_back(noise[0].clone());
    trajectory.evaluations.push_back(calls);
  }
  return trajectory;
}

void compare(const json& run, const Golden& golden, at::ScalarType dtype) {
  const std::string name = run.at("name"), suffix = dtype == at::kDouble ? "_fp64" : "";
  const Tolerance tolerance = tolerance_of(name, run.at("steps"));
  const Trajectory mine = reproduce(run, golden, dtype);
  for (std::int64_t i = 0; i < tolerance.steps; ++i) {
    const auto k = static_cast<std::size_t>(i);
    INFO(golden.name << ", step " << i);
    check_absolute(name + suffix, mine.noise[k], golden[name + ".x" + suffix][i], tolerance.noise);
    CHECK(mine.loss[k].item<double>() ==
          Approx(golden[name + ".loss_before" + suffix][i].item<double>()).margin(1e-5));
    const auto evaluations = golden[name + ".evaluations" + suffix][i].item<std::int64_t>();
    CHECK(std::abs(mine.evaluations[k] - evaluations) <= tolerance.evaluations);
  }
}

TEST_CASE("optimizers follow PyTorch's", "[reference]") {
  for (const Golden& golden : goldens("rewards/optimizers")) {
    REQUIRE(golden.json.at("runs").size() == 11);
    for (const auto& run : golden.json.at("runs")) {
      compare(run, golden, at::kDouble);
      if (run.at("optimizer") != "lbfgs") compare(run, golden, at::kFloat);
    }
  }
}

TEST_CASE("L-BFGS in float32 ends as low as PyTorch's does", "[reference]") {
  for (const Golden& golden : goldens("rewards/optimizers")) {
    for (const auto& run : golden.json.at("runs")) {
      if (run.at("optimizer") != "lbfgs") continue;
      const std::string name = run.at("name");
      const at::Tensor reference = golden[name + ".loss_before"][-1];
      check_to_largest(name + ", final loss", reproduce(run, golden, at::kFloat).loss.back(), reference,
                       1e-5);
    }
  }
}

}  // namespace
