// Generator and rewards as the experiments of one process share them: a sweep loads them once, as long as
// only weights and settings differ.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <utility>
#include <vector>

#include "reno/run/context.hpp"

namespace reno {

class Models {
 public:
  /// The objective of the experiment, loaded only where the one at hand is of other models. It lives until
  /// the next call.
  Objective& get(const Experiment& experiment, const Registry& registry, const Context& context) {
    const auto& refine = experiment.refine;
    Key key{experiment.generator, experiment.rewards, refine.generator, refine.steps > 0 ? context.seed : 0,
            context.device,       context.dtype,      context.memory};
    for (auto& term : key.rewards) term.weight = 0.0;
    if (!objective_ || !(key_ == key)) {
      objective_.reset();  // before others take its memory
      objective_.emplace(load_objective(experiment, registry, context));
      key_ = std::move(key);
      ++loads_;
      return *objective_;
    }
    std::vector<double> weights;
    for (const auto& term : experiment.rewards) weights.push_back(term.weight);
    objective_->reweigh(weights, experiment.regularization.weight);
    require_gradient(experiment, *objective_);
    return *objective_;
  }

  /// How often models were loaded.
  int loads() const { return loads_; }

 private:
  struct Key {
    Component generator;
    std::vector<RewardTerm> rewards;
    std::optional<std::filesystem::path> refiner;
    std::uint64_t seed = 0;  ///< samplers that refine draw noise from it
    c10::Device device = c10::kCPU;
    c10::ScalarType dtype = c10::kFloat;
    MemoryMode memory = MemoryMode::balanced;
    bool operator==(const Key&) const = default;
  };

  std::optional<Objective> objective_;
  Key key_;
  int loads_ = 0;
};

}  // namespace reno
