// The end of a run: what people look at, made from results.jsonl and the images on the disk alone. So it is
// the same whether one process did everything, or several, or one that was stopped and started again.
#pragma once

#include <torch/version.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "reno/experiment/write_toml.hpp"
#include "reno/image/comparison.hpp"
#include "reno/plugin.hpp"
#include "reno/run/costs.hpp"
#include "reno/run/json_lines.hpp"
#include "reno/run/report.hpp"
#include "reno/run/summary.hpp"
#include "reno/version.hpp"

namespace reno {

inline std::vector<std::string> reward_names(const Experiment& experiment) {
  std::vector<std::string> names;
  for (const auto& term : experiment.rewards) names.push_back(term.name);
  return names;
}

/// Writes results.json, comparison.png and report.html, and returns what stands in the first. `complete`: the
/// run has nothing left to do.
inline nlohmann::ordered_json conclude(const std::filesystem::path& root, const Experiment& experiment,
                                       bool complete, const Costs& costs, const std::string& device) {
  const auto rewards = reward_names(experiment);
  Summary summary(rewards, experiment.run.benchmark_reward);
  Comparison comparison;
  Report report(rewards);
  std::int64_t shown = 0;
  for_each_json_line(root / "results.jsonl", [&](const nlohmann::ordered_json& line) {
    const FinishedImage image = parse_result(rewards, line);
    summary.add(image);
    if (shown++ >= Report::max_prompts) return report.add(image.text, {});
    ImageResult result;
    result.initial = image.initial;
    result.best = image.best;
    result.best_iteration = image.best_iteration;
    result.initial_image = read_png(root / image.initial_image);
    result.best_image = read_png(root / image.best_image);
    comparison.add(result.initial_image, result.best_image);
    std::optional<ImageResult> refined;
    if (image.refined) {
      refined.emplace();
      refined->initial = image.refined->initial;
      refined->best = image.refined->best;
      refined->initial_image = read_png(root / image.refined_initial_image);
      refined->best_image = read_png(root / image.refined_best_image);
    }
    report.add(image.text, result, refined);
  });

  nlohmann::ordered_json results;
  results["complete"] = complete;
  results.update(summary.json());
  results.update(costs_json(costs));
  results["seed"] = experiment.run.seed;
  results["device"] = device;
  results["versions"] = {{"reno", version}, {"libtorch", TORCH_VERSION}, {"build", build_fingerprint}};
  report.write(root / "report.html", "reno: " + root.filename().string(), write_toml(experiment));
  if (!comparison.empty()) write_png(root / "comparison.png", comparison.sheet());
  write_file_atomically(root / "results.json",
                        results.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
  return results;
}

}  // namespace reno
