// The numbers that a run leaves behind, as JSON. `losses` and `total` follow the published implementation
// (loss = ceiling - score, total = weighted losses without the regulariser), so they compare directly.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "reno/loop.hpp"
#include "reno/run/prompts.hpp"

namespace reno {

namespace detail {

inline nlohmann::ordered_json by_reward(const std::vector<std::string>& names,
                                        const std::vector<double>& values) {
  auto object = nlohmann::ordered_json::object();
  for (std::size_t k = 0; k < names.size(); ++k) object[names[k]] = values[k];
  return object;
}

inline nlohmann::ordered_json measured(const std::vector<std::string>& names, const ImageMetrics& metrics) {
  nlohmann::ordered_json object;
  object["scores"] = by_reward(names, metrics.scores);
  object["losses"] = by_reward(names, metrics.losses);
  object["total"] = metrics.total;
  object["norm"] = metrics.norm;
  return object;
}

}  // namespace detail

/// A line of metrics.jsonl: one evaluation of one prompt.
inline nlohmann::ordered_json metrics_json(const std::vector<std::string>& rewards, std::int64_t prompt,
                                           const Iteration& iteration, const ImageMetrics& metrics) {
  nlohmann::ordered_json object;
  object["iteration"] = iteration.index;
  object["prompt"] = prompt;
  object.update(detail::measured(rewards, metrics));
  object["regularization"] = metrics.regularization;
  object["grad_norm"] =
      metrics.grad_norm ? nlohmann::ordered_json(*metrics.grad_norm) : nlohmann::ordered_json();
  object["seconds"] = iteration.seconds;
  return object;
}

/// A line of results.jsonl: the outcome of one prompt.
inline nlohmann::ordered_json result_json(const std::vector<std::string>& rewards, const PromptItem& prompt,
                                          std::uint64_t seed, const ImageResult& result) {
  nlohmann::ordered_json object;
  object["prompt"] = prompt.index;
  object["text"] = prompt.text;
  object["seed"] = seed;
  object["initial"] = detail::measured(rewards, result.initial);
  object["best"] = detail::measured(rewards, result.best);
  object["best_iteration"] = result.best_iteration;
  return object;
}

/// Means over the prompts that are done; holds sums only, so it does not grow with the run.
struct Means {
  std::int64_t count = 0;
  std::vector<double> initial;  ///< sums of scores per reward
  std::vector<double> best;
  double initial_total = 0.0;
  double best_total = 0.0;

  void add(const ImageResult& result) {
    ++count;
    initial.resize(result.initial.scores.size());
    best.resize(result.best.scores.size());
    for (std::size_t k = 0; k < initial.size(); ++k) {
      initial[k] += result.initial.scores[k];
      best[k] += result.best.scores[k];
    }
    initial_total += result.initial.total;
    best_total += result.best.total;
  }

  double mean(double sum) const { return count > 0 ? sum / static_cast<double>(count) : 0.0; }
};

/// Where the time and memory of a run went.
struct Costs {
  double load_seconds = 0.0;
  double encode_seconds = 0.0;
  double optimize_seconds = 0.0;
  std::int64_t iterations = 0;  ///< of all batches
  std::int64_t peak_bytes = 0;

  double seconds_per_iteration() const {
    return iterations > 0 ? optimize_seconds / static_cast<double>(iterations) : 0.0;
  }
};

/// results.json: the summary of a run.
inline nlohmann::ordered_json summary_json(const std::vector<std::string>& rewards, const Means& means,
                                           const Costs& costs) {
  nlohmann::ordered_json object;
  object["prompts"] = means.count;
  auto& mean = object["mean"] = nlohmann::ordered_json::object();
  for (std::size_t k = 0; k < rewards.size() && k < means.initial.size(); ++k) {
    mean["scores"][rewards[k]] = {{"initial", means.mean(means.initial[k])},
                                  {"best", means.mean(means.best[k])}};
  }
  mean["total"] = {{"initial", means.mean(means.initial_total)}, {"best", means.mean(means.best_total)}};
  object["seconds"] = {{"load", costs.load_seconds},
                       {"encode", costs.encode_seconds},
                       {"optimize", costs.optimize_seconds},
                       {"per_iteration", costs.seconds_per_iteration()}};
  object["peak_memory_bytes"] = costs.peak_bytes;
  return object;
}

}  // namespace reno
