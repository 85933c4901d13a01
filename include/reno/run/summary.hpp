// results.json: what a run amounts to, added up from results.jsonl line by line. Only sums are held, so a
// million images take no more memory than one.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "reno/run/results.hpp"

namespace reno {

/// Sums over images.
struct Means {
  std::int64_t count = 0;
  std::vector<double> initial;  ///< of scores, per reward
  std::vector<double> best;
  double initial_total = 0.0;
  double best_total = 0.0;
  std::int64_t previewed = 0;          ///< images that the loop saw previews of
  std::vector<double> previewed_best;  ///< of scores of previews, per reward
  double previewed_best_total = 0.0;
  std::int64_t improved = 0;  ///< images that the benchmark reward prefers to their initial ones
  double improvement = 0.0;   ///< of the benchmark reward

  void add(const ImageMetrics& before, const ImageMetrics& after, double gain) {
    ++count;
    initial.resize(before.scores.size());
    best.resize(after.scores.size());
    for (std::size_t k = 0; k < initial.size(); ++k) {
      initial[k] += before.scores[k];
      best[k] += after.scores[k];
    }
    initial_total += before.total;
    best_total += after.total;
    if (gain > 0.0) ++improved;
    improvement += gain;
  }

  /// What the loop saw of one of the images.
  void add_preview(const ImageMetrics& after) {
    ++previewed;
    previewed_best.resize(after.scores.size());
    for (std::size_t k = 0; k < after.scores.size(); ++k) previewed_best[k] += after.scores[k];
    previewed_best_total += after.total;
  }

  double mean(double sum) const { return count > 0 ? sum / static_cast<double>(count) : 0.0; }
};

class Summary {
 public:
  /// A label with more values than this is no breakdown; the rest is counted together.
  static constexpr std::size_t max_values = 1000;

  /// benchmark: the name of a reward, or "total".
  Summary(std::vector<std::string> rewards, std::string benchmark)
      : rewards_(std::move(rewards)), benchmark_(std::move(benchmark)) {}

  void add(const FinishedImage& image) {
    const double gain = improvement(image.initial, image.best);
    const auto add_to = [&](Means& means) {
      means.add(image.initial, image.best, gain);
      if (image.previewed) means.add_preview(image.previewed->best);
    };
    add_to(all_);
    if (const auto& refined = image.refined)
      refined_.add(refined->initial, refined->best, improvement(refined->initial, refined->best));
    for (const auto& [label, value] : image.labels) {
      auto& values = by_label_[label];
      const bool one_more = values.size() < max_values || values.contains(value);
      add_to(values[one_more ? value : "(others)"]);
    }
  }

  const Means& all() const { return all_; }

  nlohmann::ordered_json json() const {
    nlohmann::ordered_json object = json(all_);
    if (refined_.count > 0) object["refined"] = json(refined_);
    for (const auto& [label, values] : by_label_) {
      for (const auto& [value, means] : values) object["by_label"][label][value] = json(means);
    }
    return object;
  }

 private:
  /// By how much the best image is better than the initial one: scores are better when higher, the total loss
  /// when lower.
  double improvement(const ImageMetrics& initial, const ImageMetrics& best) const {
    for (std::size_t k = 0; k < rewards_.size(); ++k) {
      if (rewards_[k] == benchmark_) return best.scores[k] - initial.scores[k];
    }
    return initial.total - best.total;
  }

  nlohmann::ordered_json json(const Means& means) const {
    nlohmann::ordered_json object;
    object["images"] = means.count;
    auto& mean = object["mean"] = nlohmann::ordered_json::object();
    for (std::size_t k = 0; k < rewards_.size() && k < means.initial.size(); ++k) {
      mean["scores"][rewards_[k]] = {{"initial", means.mean(means.initial[k])},
                                     {"best", means.mean(means.best[k])}};
    }
    mean["total"] = {{"initial", means.mean(means.initial_total)}, {"best", means.mean(means.best_total)}};
    if (means.previewed == means.count && means.count > 0) {
      for (std::size_t k = 0; k < rewards_.size(); ++k)
        mean["scores"][rewards_[k]]["previewed_best"] = means.mean(means.previewed_best[k]);
      mean["total"]["previewed_best"] = means.mean(means.previewed_best_total);
    }
    object["benchmark"] = {{"reward", benchmark_},
                           {"improved", means.mean(static_cast<double>(means.improved))},
                           {"mean_improvement", means.mean(means.improvement)}};
    return object;
  }

  std::vector<std::string> rewards_;
  std::string benchmark_;
  Means all_;
  Means refined_;  ///< the images of `[refine]`
  std::map<std::string, std::map<std::string, Means>> by_label_;
};

}  // namespace reno
