// Noise optimisation as in Algorithm 1 of ReNO (Eyring et al., NeurIPS 2024): evaluate, remember the best,
// step. Saving, progress and logging are callbacks; they see one `Iteration` after each evaluation.
#pragma once

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "reno/device_graph.hpp"
#include "reno/objective.hpp"
#include "reno/replayed_objective.hpp"

namespace reno {

/// What was measured for one image at one iteration, on the host.
struct ImageMetrics {
  std::vector<double> scores;  ///< per reward, in its published units
  std::vector<double> losses;  ///< per reward, ceiling - score, not weighted
  double total = 0.0;          ///< weighted losses, without the regulariser
  double norm = 0.0;           ///< of the noise
  double regularization = 0.0;
  std::optional<double> grad_norm;  ///< before clipping; none where no step follows
  bool improved = false;            ///< this total is strictly below all earlier ones
};

/// One pass of the loop, as callbacks see it.
struct Iteration {
  std::int64_t index = 0;
  std::vector<ImageMetrics> metrics;  ///< one per image of the batch
  at::Tensor noise;                   ///< (N, ...), where it was measured
  at::Tensor images;                  ///< (N,3,H,W)
  double seconds = 0.0;               ///< since the previous iteration's end
  StageSeconds stages;                ///< where they went; empty when the objective has no clock
};

/// What the loop found by a generator's previews.
struct Previewed {
  ImageMetrics initial;
  ImageMetrics best;
};

/// The outcome for one image.
struct ImageResult {
  ImageMetrics initial;
  ImageMetrics best;
  std::int64_t best_iteration = 0;
  at::Tensor initial_image;  ///< (3,H,W)
  at::Tensor best_image;     ///< (3,H,W)
  at::Tensor best_noise;
  std::optional<Previewed> previewed;  ///< where the loop went by previews, and all above is of the images
};

/// Says how the noise of the next iteration comes about: an optimizer's step, or a fresh draw (best-of-n).
/// `evaluate` may be called for more evaluations of the objective.
using NextNoise =
    std::function<void(at::Tensor& noise, const Evaluation& evaluation, const Evaluate& evaluate)>;

struct LoopOptions {
  std::int64_t iterations = 50;
  std::int64_t first_iteration = 0;                    ///< above 0: goes on where an earlier loop stopped
  std::int64_t gradient_from = 0;                      ///< earlier iterations only measure the objective
  std::function<void(const Iteration&)> on_iteration;  ///< may be empty
  std::function<void(std::int64_t)> on_step;           ///< after a step: which iteration comes; may be empty
  std::function<bool()> should_stop;                   ///< asked after each step; may be empty
  DeviceGraph* graph = nullptr;  ///< an empty one: replays of the second gradient give the others
};

namespace detail {

/// Brings all numbers of a measurement to the host in one transfer: the only synchronisation of an iteration.
inline std::vector<ImageMetrics> to_host(const Measurement& measurement,
                                         const std::vector<WeightedReward>& rewards, std::int64_t iteration) {
  const std::size_t count = rewards.size();
  std::vector<at::Tensor> columns = {measurement.total, measurement.norm, measurement.regularization};
  columns.insert(columns.end(), measurement.scores.begin(), measurement.scores.end());
  columns.insert(columns.end(), measurement.gradient_norms.begin(), measurement.gradient_norms.end());
  const bool has_gradient = measurement.gradient.defined();
  if (has_gradient) columns.push_back(at::linalg_vector_norm(measurement.gradient.flatten(1), 2, {1}));
  const at::Tensor table = at::stack(columns, 1).to(at::kCPU, at::kDouble).contiguous();

  std::vector<ImageMetrics> result(static_cast<std::size_t>(table.size(0)));
  for (std::size_t i = 0; i < result.size(); ++i) {
    const double* row = table.const_data_ptr<double>() + static_cast<std::int64_t>(i) * table.size(1);
    const auto require_finite = [&](double value, const std::string& what) {
      if (!std::isfinite(value)) {
        throw RunError(
            fmt::format("{} is {} at iteration {} (image {} of the batch); a smaller learning rate, dtype = "
                        "\"float32\" or other "
                        "weights may help",
                        what, std::isnan(value) ? "NaN" : "infinite", iteration, i));
      }
    };
    ImageMetrics& metrics = result[i];
    metrics.total = row[0];
    metrics.norm = row[1];
    metrics.regularization = row[2];
    for (std::size_t k = 0; k < count; ++k) {
      metrics.scores.push_back(row[3 + k]);
      metrics.losses.push_back(rewards[k].reward.ceiling() - row[3 + k]);
      require_finite(metrics.scores[k], fmt::format("the score of reward '{}'", rewards[k].name));
    }
    for (std::size_t k = 0; k < count; ++k) {
      require_finite(row[3 + count + k], fmt::format("the gradient of reward '{}'", rewards[k].name));
    }
    require_finite(metrics.norm, "the norm of the noise");
    if (has_gradient) {
      metrics.grad_norm = row[3 + 2 * count];
      require_finite(*metrics.grad_norm, "the gradient through the generator");
    }
  }
  return result;
}

}  // namespace detail

/// Improves `noise` (N, ...) in place. `results` gets one entry per image and is up to date after every
/// iteration, also when an exception ends the loop. The last iteration evaluates and does not step. Returns
/// the iteration that comes next, `iterations` when there is none: with that `first_iteration`, the same
/// noise, results and state of `next_noise`, another call goes on as if there had been no stop. Throws
/// RunError for a NaN or infinite reward or gradient, naming iteration and component.
inline std::int64_t optimize_noise(const Objective& objective, const EncodedPrompts& prompts,
                                   at::Tensor& noise, const NextNoise& next_noise, const LoopOptions& options,
                                   std::vector<ImageResult>& results) {
  using Clock = std::chrono::steady_clock;
  ReplayedObjective replayed(objective, prompts, options.graph);
  const auto evaluate = [&](const at::Tensor& point) {
    return replayed.measure(point, /*with_gradient=*/true).evaluation();
  };
  const auto& stages = objective.clock();
  results.resize(static_cast<std::size_t>(noise.size(0)));
  auto started = Clock::now();
  if (stages) stages->start();
  for (std::int64_t i = options.first_iteration; i < options.iterations; ++i) {
    const bool last = i + 1 == options.iterations;
    const Measurement measurement =
        replayed.measure(noise, /*with_gradient=*/i >= options.gradient_from && !last);
    Iteration iteration{
        i, detail::to_host(measurement, objective.rewards(), i), noise.detach(), measurement.images, 0.0, {}};

    for (std::size_t n = 0; n < results.size(); ++n) {
      ImageMetrics& metrics = iteration.metrics[n];
      ImageResult& result = results[n];
      metrics.improved = i == 0 || metrics.total < result.best.total;
      const auto row = static_cast<std::int64_t>(n);
      if (metrics.improved) {
        result.best = metrics;
        result.best_iteration = i;
        result.best_image = measurement.images[row].clone();
        result.best_noise = noise[row].detach().clone();
      }
      if (i == 0) {
        result.initial = metrics;
        result.initial_image = result.best_image;
      }
    }

    const auto now = Clock::now();
    iteration.seconds = std::chrono::duration<double>(now - started).count();
    started = now;
    if (stages) {
      stages->mark("transfer");
      iteration.stages = stages->take();
      stages->start();
    }
    if (options.on_iteration) options.on_iteration(iteration);
    mark_stage(stages, "record");
    if (last) break;
    next_noise(noise, measurement.gradient.defined() ? measurement.evaluation() : Evaluation{}, evaluate);
    mark_stage(stages, "step");
    if (options.on_step) options.on_step(i + 1);
    if (options.should_stop && options.should_stop()) return i + 1;
  }
  return options.iterations;
}

}  // namespace reno
