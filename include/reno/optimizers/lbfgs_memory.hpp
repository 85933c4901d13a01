// The limited memory of L-BFGS for one image: the last few steps s and gradient changes y, which stand for an
// inverse Hessian (Nocedal and Wright, Numerical Optimization, 2nd ed., algorithm 7.4).
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/dot.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <utility>
#include <vector>

#include "reno/error.hpp"

namespace reno {

/// Tensors are flat (d), in the noise's dtype, and are never written to, so a copy of the memory is a
/// snapshot.
struct LBFGSMemory {
  struct Pair {
    at::Tensor step;             ///< s
    at::Tensor gradient_change;  ///< y
    double rho = 0.0;            ///< 1 / y's
  };
  std::deque<Pair> pairs;  ///< oldest first
  double scale = 1.0;      ///< of the initial inverse Hessian: y's / y'y of the newest pair
  at::Tensor step;         ///< the last step; undefined before the first one
  at::Tensor gradient;     ///< where the last step began

  bool fresh() const { return !step.defined(); }

  /// Takes in what the last step has shown of the curvature, where that was positive.
  void learn(const at::Tensor& new_gradient, std::int64_t history_size) {
    if (fresh()) return;
    const at::Tensor y = new_gradient - gradient;
    const double curvature = dot(y, step);
    if (!(curvature > 1e-10)) return;
    if (pairs.size() == static_cast<std::size_t>(history_size)) pairs.pop_front();
    pairs.push_back({step, y, 1.0 / curvature});
    scale = curvature / dot(y, y);
  }

  /// -H g, by the two-loop recursion.
  at::Tensor direction(const at::Tensor& new_gradient) const {
    at::Tensor q = new_gradient.neg();
    std::vector<double> alpha(pairs.size());
    for (std::size_t i = pairs.size(); i-- > 0;) {
      alpha[i] = dot(pairs[i].step, q) * pairs[i].rho;
      q.add_(pairs[i].gradient_change, -alpha[i]);
    }
    q.mul_(scale);
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      const double beta = dot(pairs[i].gradient_change, q) * pairs[i].rho;
      q.add_(pairs[i].step, alpha[i] - beta);
    }
    return q;
  }

  static double dot(const at::Tensor& a, const at::Tensor& b) { return at::dot(a, b).item<double>(); }
};

/// The memories of N images as tensors: last step and gradient (N,d); steps and gradient changes (N,H,d),
/// zeros where an image has fewer pairs; float64 (N,3+H) on the host: 1 if not fresh, number of pairs, scale,
/// rho of each pair. Nothing when all images are fresh.
inline std::vector<at::Tensor> pack(const std::vector<LBFGSMemory>& memories, std::int64_t history_size) {
  const auto any = std::find_if(memories.begin(), memories.end(), [](const auto& m) { return !m.fresh(); });
  if (any == memories.end()) return {};
  const auto images = static_cast<std::int64_t>(memories.size());
  const std::int64_t elements = any->step.numel();
  const at::Tensor step = at::zeros({images, elements}, any->step.options());
  const at::Tensor gradient = at::zeros_like(step);
  const at::Tensor steps = at::zeros({images, history_size, elements}, any->step.options());
  const at::Tensor changes = at::zeros_like(steps);
  const at::Tensor scalars = at::zeros({images, 3 + history_size}, at::TensorOptions(at::kDouble));
  for (std::int64_t i = 0; i < images; ++i) {
    const LBFGSMemory& memory = memories[static_cast<std::size_t>(i)];
    if (memory.fresh()) continue;
    step[i].copy_(memory.step);
    gradient[i].copy_(memory.gradient);
    double* row = scalars.mutable_data_ptr<double>() + i * scalars.size(1);
    *row++ = 1.0;
    *row++ = static_cast<double>(memory.pairs.size());
    *row++ = memory.scale;
    for (std::size_t k = 0; k < memory.pairs.size(); ++k) {
      const auto place = static_cast<std::int64_t>(k);
      steps[i][place].copy_(memory.pairs[k].step);
      changes[i][place].copy_(memory.pairs[k].gradient_change);
      *row++ = memory.pairs[k].rho;
    }
  }
  return {step, gradient, steps, changes, scalars};
}

/// The memories that `pack` has packed, on `device`. Throws LoadError for tensors that do not fit together or
/// have another history size.
inline std::vector<LBFGSMemory> unpack(const std::vector<at::Tensor>& state, std::int64_t history_size,
                                       at::Device device) {
  if (state.empty()) return {};
  const auto fits = [&] {
    if (state.size() != 5 || state[0].dim() != 2) return false;
    const std::int64_t images = state[0].size(0), elements = state[0].size(1);
    const std::vector<std::int64_t> row = {images, elements}, rows = {images, history_size, elements};
    const std::vector<std::int64_t> numbers = {images, 3 + history_size};
    return state[1].sizes() == row && state[2].sizes() == rows && state[3].sizes() == rows &&
           state[4].sizes() == numbers && state[4].scalar_type() == at::kDouble;
  };
  if (!fits()) {
    throw LoadError(
        "the saved state does not fit optimizer 'lbfgs': it was saved by another optimizer, version or "
        "history_size");
  }
  const at::Tensor scalars = state[4].cpu().contiguous();
  const auto take = [&](const at::Tensor& row) {
    return row.to(device, row.scalar_type(), false, /*copy=*/true);
  };
  std::vector<LBFGSMemory> memories(static_cast<std::size_t>(state[0].size(0)));
  for (std::size_t i = 0; i < memories.size(); ++i) {
    const auto image = static_cast<std::int64_t>(i);
    const double* row = scalars.const_data_ptr<double>() + image * scalars.size(1);
    if (row[0] != 1.0) continue;
    if (!(row[1] >= 0.0 && row[1] <= static_cast<double>(history_size)))
      throw LoadError("the saved state of optimizer 'lbfgs' is damaged: its number of pairs is impossible");
    LBFGSMemory& memory = memories[i];
    memory.step = take(state[0][image]);
    memory.gradient = take(state[1][image]);
    memory.scale = row[2];
    for (std::int64_t k = 0; k < static_cast<std::int64_t>(row[1]); ++k)
      memory.pairs.push_back({take(state[2][image][k]), take(state[3][image][k]), row[3 + k]});
  }
  return memories;
}

}  // namespace reno
