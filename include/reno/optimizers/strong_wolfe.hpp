// Line search for a step that satisfies the strong Wolfe conditions: along x + t d, with phi(t) the loss,
//
//     phi(t) <= phi(0) + c1 t phi'(0)   and   |phi'(t)| <= c2 |phi'(0)|.
//
// Nocedal and Wright, Numerical Optimization (2nd ed.), algorithms 3.5 (bracketing) and 3.6 (zoom), with
// minFunc's cubic interpolation and safeguards (M. Schmidt, 2005), which PyTorch's L-BFGS follows step by
// step.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>

#include "reno/optimizers/dialogue.hpp"

namespace reno {

/// What is known of one point on the line. `Real` is the noise's precision: what a float32 noise or loss
/// cannot resolve counts as equal, or a search would settle for a step too short to move anything.
template <class Real>
struct LinePoint {
  Real t = 0;
  Real loss = 0;
  Real slope = 0;  ///< phi'(t), the gradient's component along the direction
  at::Tensor gradient;

  bool finite() const { return std::isfinite(loss) && std::isfinite(slope); }
};

struct StrongWolfeOptions {
  double sufficient_decrease = 1e-4;  ///< c1
  double curvature = 0.9;             ///< c2
  double tolerance_change = 1e-9;     ///< the search ends where a bracket moves no element further than this
  std::int64_t max_trials = 25;       ///< after the first point; the search ends with the best of its bracket
};

/// The minimiser, within [low, high], of the cubic through two points' values and slopes; the middle of the
/// range where that cubic has none (Nocedal and Wright, equation 3.59).
template <class Real>
Real cubic_minimizer(const LinePoint<Real>& a, const LinePoint<Real>& b, Real low, Real high) {
  const LinePoint<Real>& left = a.t <= b.t ? a : b;
  const LinePoint<Real>& right = a.t <= b.t ? b : a;
  const Real d1 = left.slope + right.slope - 3 * (left.loss - right.loss) / (left.t - right.t);
  const Real d2 = std::sqrt(d1 * d1 - left.slope * right.slope);  // NaN where there is no minimum
  const Real t =
      right.t - (right.t - left.t) * ((right.slope + d2 - d1) / (right.slope - left.slope + 2 * d2));
  return std::isnan(t) ? (low + high) / 2 : std::min(std::max(t, low), high);
}

/// A trial inside the bracket, kept a tenth of it away from both ends whenever it comes close twice in a row.
template <class Real>
Real zoom_trial(const std::array<LinePoint<Real>, 2>& bracket, bool& was_close) {
  const auto [low, high] = std::minmax(bracket[0].t, bracket[1].t);
  const Real t = cubic_minimizer(bracket[0], bracket[1], low, high);
  const Real margin = Real(0.1) * (high - low);
  const bool close = std::min(high - t, t - low) < margin;
  const bool move = close && (was_close || t >= high || t <= low);
  was_close = close && !move;
  if (!move) return t;
  return std::abs(t - high) < std::abs(t - low) ? high - margin : low + margin;
}

/// Asks for points t of the line and returns the accepted one; `start` (t = 0) where nothing lower was found.
/// `start` must be finite. Points that are not finite count as infinitely high, so the search backs off from
/// them and never returns one; there are at most 1 + max_trials questions. `largest_element` is that of the
/// direction's absolute values.
template <class Real>
Dialogue<Real, LinePoint<Real>, LinePoint<Real>> strong_wolfe(LinePoint<Real> start, Real t,
                                                              Real largest_element,
                                                              StrongWolfeOptions options) {
  const auto c1 = static_cast<Real>(options.sufficient_decrease);
  const auto c2 = static_cast<Real>(options.curvature);
  const auto too_high = [&](const LinePoint<Real>& point) {
    return !point.finite() || point.loss > start.loss + c1 * point.t * start.slope;
  };
  const auto flat_enough = [&](const LinePoint<Real>& point) {
    return std::abs(point.slope) <= -c2 * start.slope;
  };
  const auto height = [](const LinePoint<Real>& point) {
    return point.finite() ? point.loss : std::numeric_limits<Real>::infinity();
  };
  const auto lower_of = [&](const std::array<LinePoint<Real>, 2>& points) {
    return height(points[0]) <= height(points[1]) ? 0 : 1;
  };

  // Bracketing: go further until the minimum lies behind us.
  LinePoint<Real> previous = start;
  LinePoint<Real> trial = co_await t;
  std::array<LinePoint<Real>, 2> bracket;
  std::int64_t trials = 0;
  for (;; ++trials) {
    if (trials == options.max_trials) {
      bracket = {start, trial};
      break;
    }
    if (too_high(trial) || (trials > 1 && trial.loss >= previous.loss)) {
      bracket = {previous, trial};
      break;
    }
    if (flat_enough(trial)) co_return trial;
    if (trial.slope >= 0) {
      bracket = {previous, trial};
      break;
    }
    t = cubic_minimizer(previous, trial, trial.t + Real(0.01) * (trial.t - previous.t), trial.t * 10);
    previous = std::move(trial);
    trial = co_await t;
  }

  // Zoom: shrink the bracket around the minimum. bracket[low] is the lowest point so far.
  int low = lower_of(bracket);
  bool was_close = false;
  for (; trials < options.max_trials; ++trials) {
    if (std::abs(bracket[1].t - bracket[0].t) * largest_element < options.tolerance_change) break;
    t = zoom_trial(bracket, was_close);
    trial = co_await t;
    if (too_high(trial) || trial.loss >= bracket[low].loss) {
      bracket[1 - low] = std::move(trial);
      low = lower_of(bracket);
      continue;
    }
    if (flat_enough(trial)) co_return trial;
    if (trial.slope * (bracket[1 - low].t - bracket[low].t) >= 0) bracket[1 - low] = bracket[low];
    bracket[low] = std::move(trial);
  }
  co_return bracket[low];
}

}  // namespace reno
