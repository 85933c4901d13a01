// L-BFGS with a strong Wolfe line search (Liu and Nocedal, Mathematical Programming 1989), with the stopping
// rules of PyTorch's torch.optim.LBFGS. Every image runs its own optimisation and its own line searches;
// evaluations are shared: the images' coroutines advance in lockstep, one evaluation of the batch per round.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros_like.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "reno/concepts.hpp"
#include "reno/context.hpp"
#include "reno/error.hpp"
#include "reno/optimizers/clip.hpp"
#include "reno/optimizers/dialogue.hpp"
#include "reno/optimizers/lbfgs_memory.hpp"
#include "reno/optimizers/strong_wolfe.hpp"
#include "reno/options.hpp"

namespace reno {

/// Tensors and the line search's scalars have the noise's precision. Losses and slopes are read on the host,
/// so every evaluation synchronises with the device.
class LBFGS {
 public:
  struct Options {
    double lr = 1.0;
    std::int64_t max_iter = 10;
    std::optional<std::int64_t> max_evaluations;
    std::int64_t max_evaluations_line_search = 25;
    std::int64_t history_size = 3;
    double tolerance_grad = 1e-7;
    double tolerance_change = 1e-9;
    double grad_clip = 0.0;
    void describe(auto& field) {
      field("lr", lr, "where each line search begins, in quasi-Newton steps", reno::bounds{.low = 0.0});
      field("max_iter", max_iter, "most line searches per step", reno::bounds{1, 10000});
      field("max_evaluations", max_evaluations,
            "no line search begins after this many evaluations in a step; unset: 5/4 of max_iter",
            reno::bounds{1, 100000});
      field("max_evaluations_line_search", max_evaluations_line_search,
            "most evaluations of a line search after its first; 0: what is left of max_evaluations",
            reno::bounds{0, 10000});
      field("history_size", history_size, "past steps that the inverse Hessian is made of",
            reno::bounds{1, 1000});
      field("tolerance_grad", tolerance_grad, "a step ends where no element of the gradient is larger",
            reno::bounds{.low = 0.0});
      field("tolerance_change", tolerance_change, "a step ends where noise or loss change by less",
            reno::bounds{.low = 0.0});
      field("grad_clip", grad_clip,
            "largest 2-norm of an image's gradient; 0 does not clip (clipping misleads the line search)",
            reno::bounds{.low = 0.0});
    }
  };

  LBFGS(const Options& options, const Context& context)
      : options_(options), device_(context.device), log_(context.log) {
    if (!options_.max_evaluations) options_.max_evaluations = options_.max_iter * 5 / 4;
  }

  /// Up to `max_iter` line searches per image. Throws RunError when an image's loss or gradient is not finite
  /// at `noise`; line searches back off from points where that happens. If anything throws, noise and state
  /// are as before.
  void step(at::Tensor& noise, const Evaluation& evaluation, const Evaluate& evaluate) {
    const std::vector<Sample> start = samples(evaluation);
    auto memories = memories_.empty() ? std::vector<LBFGSMemory>(start.size()) : memories_;
    require_fit(memories, noise);
    require_finite(start);

    const auto images = noise.detach().flatten(1).unbind(0);
    std::int64_t not_finite = 0;
    std::vector<Minimization> runs;
    const auto begin = noise.scalar_type() == at::kDouble ? minimize<double> : minimize<float>;
    for (std::size_t i = 0; i < start.size(); ++i)
      runs.push_back(begin(images[i].clone(), start[i], memories[i], options_, not_finite));

    // An image that is done stays in the batch at its result, and what it is told there is ignored.
    const auto points = [&] {
      std::vector<at::Tensor> rows;
      for (const auto& run : runs) rows.push_back(run.asking() ? run.question() : run.result());
      return at::stack(rows).view(noise.sizes());
    };
    while (std::any_of(runs.begin(), runs.end(), [](const auto& run) { return run.asking(); })) {
      const std::vector<Sample> answers = samples(evaluate(points()));
      for (std::size_t i = 0; i < runs.size(); ++i) {
        if (runs[i].asking()) runs[i].answer(answers[i]);
      }
    }
    noise.detach().copy_(points());
    memories_ = std::move(memories);
    if (not_finite > 0 && log_)
      log_->warn("lbfgs: backed off from {} points where the loss or its gradient is not finite", not_finite);
  }

  /// See `pack` (lbfgs_memory.hpp).
  std::vector<at::Tensor> state() const { return pack(memories_, options_.history_size); }

  void restore(const std::vector<at::Tensor>& state) {
    memories_ = unpack(state, options_.history_size, device_);
  }

 private:
  /// The objective at one point of one image.
  struct Sample {
    double loss = 0.0;
    at::Tensor gradient;  ///< flat, clipped
  };
  /// Asks for the objective at flat points of one image and ends with the point that it has come to.
  using Minimization = Dialogue<at::Tensor, Sample, at::Tensor>;

  template <class Real>
  static Minimization minimize(at::Tensor x, Sample here, LBFGSMemory& memory, Options options,
                               std::int64_t& not_finite) {
    using Point = LinePoint<Real>;
    std::int64_t evaluations = 1;
    for (std::int64_t iteration = 1; largest(here.gradient) > options.tolerance_grad; ++iteration) {
      const bool first = memory.fresh();
      memory.learn(here.gradient, options.history_size);
      const at::Tensor direction = memory.direction(here.gradient);
      memory.gradient = here.gradient;
      memory.step = at::zeros_like(direction);
      const double slope = LBFGSMemory::dot(here.gradient, direction);
      if (!(slope <= -options.tolerance_change)) break;

      StrongWolfeOptions limits;
      limits.tolerance_change = options.tolerance_change;
      limits.max_trials = options.max_evaluations_line_search > 0 ? options.max_evaluations_line_search
                                                                  : *options.max_evaluations - evaluations;
      // Nothing is known yet of the curvature: the first step of all changes x by lr at most, in 1-norm.
      const double scale = first ? std::min(1.0, 1.0 / here.gradient.abs().sum().item<double>()) : 1.0;
      const Point origin = {0, static_cast<Real>(here.loss), static_cast<Real>(slope), here.gradient};
      auto search = strong_wolfe<Real>(origin, static_cast<Real>(options.lr * scale),
                                       static_cast<Real>(largest(direction)), limits);
      while (search.asking()) {
        const Real t = search.question();
        const at::Tensor point = x.add(direction, t);
        const Sample sample = co_await point;
        ++evaluations;
        const auto trial_slope = static_cast<Real>(LBFGSMemory::dot(sample.gradient, direction));
        const Point trial = {t, static_cast<Real>(sample.loss), trial_slope, sample.gradient};
        if (!trial.finite()) ++not_finite;
        search.answer(trial);
      }
      const Point& accepted = search.result();
      const double change = std::abs(accepted.loss - here.loss);
      x = x.add(direction, accepted.t);
      memory.step = direction * accepted.t;
      here = {accepted.loss, accepted.gradient};

      if (iteration == options.max_iter || evaluations >= *options.max_evaluations ||
          largest(memory.step) <= options.tolerance_change || change < options.tolerance_change) {
        break;
      }
    }
    co_return x;
  }

  static double largest(const at::Tensor& tensor) { return tensor.abs().max().item<double>(); }

  std::vector<Sample> samples(const Evaluation& evaluation) const {
    const at::Tensor losses = evaluation.loss.detach().to(at::kCPU, at::kDouble).contiguous();
    const auto rows = clip_by_norm(evaluation.gradient.detach(), options_.grad_clip).flatten(1).unbind(0);
    std::vector<Sample> result;
    for (std::size_t i = 0; i < rows.size(); ++i)
      result.push_back({losses.const_data_ptr<double>()[i], rows[i].clone()});
    return result;
  }

  static void require_finite(const std::vector<Sample>& start) {
    for (std::size_t i = 0; i < start.size(); ++i) {
      if (!std::isfinite(start[i].loss) || !start[i].gradient.isfinite().all().item<bool>()) {
        throw RunError(fmt::format(
            "the loss or its gradient is not finite for image {} of the batch: lbfgs cannot step from there",
            i));
      }
    }
  }

  static void require_fit(const std::vector<LBFGSMemory>& memories, const at::Tensor& noise) {
    const bool fits = static_cast<std::int64_t>(memories.size()) == noise.size(0) &&
                      std::all_of(memories.begin(), memories.end(), [&](const auto& memory) {
                        return memory.fresh() || memory.step.numel() * noise.size(0) == noise.numel();
                      });
    if (!fits) {
      throw RunError(fmt::format("the state of optimizer 'lbfgs' is for other noise than {}: start it anew",
                                 fmt::join(noise.sizes(), "x")));
    }
  }

  Options options_;
  at::Device device_;
  std::shared_ptr<spdlog::logger> log_;
  std::vector<LBFGSMemory> memories_;  ///< one per image
};

}  // namespace reno
