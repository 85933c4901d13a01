// The objective at one batch of prompts, evaluated again and again: where a device can record work, most of
// its evaluations are replays of one of them.
#pragma once

#include <ATen/core/Tensor.h>
#include <fmt/format.h>

#include <exception>
#include <optional>
#include <vector>

#include "reno/device_graph.hpp"
#include "reno/error.hpp"
#include "reno/objective.hpp"

namespace reno {

/// Measures as Objective::measure does. The first measurement with a gradient is a plain one, in which
/// libraries find their memory and make their choices; the second is recorded, and it and all that follow are
/// replays, in which rewards that see the same pixels are computed side by side.
class ReplayedObjective {
 public:
  /// Refers to its arguments. graph: an empty one, or null, and nothing is recorded.
  ReplayedObjective(const Objective& objective, const EncodedPrompts& prompts, DeviceGraph* graph)
      : objective_(objective), prompts_(prompts), graph_(graph) {}

  /// Throws RunError when the measurement cannot be recorded.
  Measurement measure(const at::Tensor& noise, bool with_gradient) {
    if (graph_ == nullptr || !with_gradient) return objective_.measure(noise, prompts_, with_gradient);
    if (!warm_) {
      warm_ = true;
      return objective_.measure(noise, prompts_, with_gradient);
    }
    if (!recorded_) record(noise);
    noise_.copy_(noise);
    graph_->replay();
    mark_stage(objective_.clock(), "replay");
    return copy(*recorded_);
  }

 private:
  void record(const at::Tensor& noise) {
    noise_ = noise.detach().clone();
    const PausedClock pause(objective_.clock());
    try {
      graph_->record([this] {
        recorded_ = objective_.measure(noise_, prompts_, /*with_gradient=*/true,
                                       [this](const auto& pieces) { graph_->side_by_side(pieces); });
      });
    } catch (const std::exception& error) {
      throw RunError(
          fmt::format("an iteration of these models cannot be recorded as a CUDA graph; use run.cuda_graph = "
                      "false: {}",
                      error.what()));
    }
  }

  /// The next replay writes over what was recorded.
  static Measurement copy(const Measurement& measurement) {
    const auto copies = [](const std::vector<at::Tensor>& tensors) {
      std::vector<at::Tensor> result;
      for (const auto& tensor : tensors) result.push_back(tensor.clone());
      return result;
    };
    return {measurement.images.clone(),  copies(measurement.scores), copies(measurement.gradient_norms),
            measurement.total.clone(),   measurement.norm.clone(),   measurement.regularization.clone(),
            measurement.gradient.clone()};
  }

  const Objective& objective_;
  const EncodedPrompts& prompts_;
  DeviceGraph* graph_;
  bool warm_ = false;
  at::Tensor noise_;                     ///< where replays look for it
  std::optional<Measurement> recorded_;  ///< where they leave the rest
};

}  // namespace reno
