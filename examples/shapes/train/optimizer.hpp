// How parameters learn: AdamW (Loshchilov & Hutter 2019), or Muon (Jordan et al. 2024) for the matrices
// inside the networks, whose momentum it makes orthogonal before stepping; the norm of the gradient is
// limited, and an exponential moving average of the parameters is what is evaluated and kept.
#pragma once

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

#include "reno/error.hpp"
#include "shapes/train/parameters.hpp"

namespace reno::shapes {

/// Warm-up, constant until `hold`, then half a cosine down to `floor`; all of the highest rate.
struct Schedule {
  double warm_up = .01;  ///< fraction of the training
  double hold = .1;
  double floor = .01;

  double operator()(double progress) const {
    if (progress < warm_up) return (progress + .02 * warm_up) / warm_up;
    if (progress < hold) return 1;
    const double phase = (progress - hold) / (1 - hold);
    return floor + (1 - floor) * .5 * (1 + std::cos(std::numbers::pi * phase));
  }
};

struct OptimizerSettings {
  double lr = 2e-3;  ///< of AdamW
  double beta1 = .9, beta2 = .98, eps = 1e-8;
  double weight_decay = .01;  ///< of what has two or more dimensions
  double muon_lr = .02;
  double muon_momentum = .95;
  double clip = 1;  ///< largest 2-norm of AdamW's gradients together; Muon's steps have a size of their own
  double average = .995;                                 ///< decay of the moving average, reached gradually
  std::function<bool(const std::string&)> by_muon = {};  ///< which matrices Muon takes; none if not set
};

namespace detail {

/// An approximately orthogonal matrix with the singular vectors of `matrix`: Newton and Schulz's iteration
/// with the coefficients of Jordan et al.
inline at::Tensor orthogonalized(const at::Tensor& matrix) {
  const bool tall = matrix.size(0) > matrix.size(1);
  auto x = tall ? matrix.t() : matrix;
  x = x / (x.norm() + 1e-7);
  for (int i = 0; i < 5; ++i) {
    const auto a = x.mm(x.t());
    x = 3.4445 * x + (-4.7750 * a + 2.0315 * a.mm(a)).mm(x);
  }
  return tall ? x.t() : x;
}

}  // namespace detail

class Optimizer {
 public:
  Optimizer(const TensorMap& parameters, OptimizerSettings settings) : settings_(std::move(settings)) {
    const c10::NoGradGuard no_grad;
    for (const auto& [name, tensor] : parameters) {
      const bool muon = tensor.dim() > 1 && settings_.by_muon && settings_.by_muon(name);
      learners_.push_back({name, tensor, muon, at::zeros_like(tensor),
                           muon ? at::Tensor() : at::zeros_like(tensor), tensor.detach().clone()});
    }
  }

  /// Follows the gradients that a backward pass has left, at `rate` times the highest learning rates, and
  /// clears them. Returns the norm of the gradient. Throws RunError if that is not a number.
  double step(double rate) {
    const c10::NoGradGuard no_grad;
    const double norm = gradient_norm();
    if (!std::isfinite(norm)) throw RunError("the gradient is not finite: lower the learning rate");
    const double scale = std::min(1., settings_.clip / (norm + 1e-6));
    ++steps_;
    for (auto& learner : learners_) {
      auto& gradient = learner.parameter.mutable_grad();
      if (!gradient.defined()) continue;
      learner.muon ? muon(learner, gradient, rate) : adamw(learner, gradient * scale, rate);
      gradient.reset();
    }
    const double decay = std::min(settings_.average, (steps_ + 1.) / (steps_ + 20.));
    for (auto& learner : learners_) learner.average.lerp_(learner.parameter, 1 - decay);
    return norm;
  }

  /// Exchanges parameters and their averages.
  void swap_averages() {
    const c10::NoGradGuard no_grad;
    for (auto& learner : learners_) {
      const auto current = learner.parameter.detach().clone();
      learner.parameter.copy_(learner.average);
      learner.average.copy_(current);
    }
  }

  TensorMap averages() const {
    TensorMap averages;
    for (const auto& learner : learners_) averages.emplace(learner.name, learner.average);
    return averages;
  }

  /// Everything that the next steps depend on, by name; the tensors share memory with what is in use.
  TensorMap state() const {
    TensorMap state;
    for (const auto& learner : learners_) {
      state.emplace("parameter." + learner.name, learner.parameter.detach());
      state.emplace("average." + learner.name, learner.average);
      state.emplace("momentum." + learner.name, learner.momentum);
      if (!learner.muon) state.emplace("variance." + learner.name, learner.variance);
    }
    return state;
  }
  std::int64_t steps() const { return steps_; }
  std::int64_t numel() const {
    std::int64_t numel = 0;
    for (const auto& learner : learners_) numel += learner.parameter.numel();
    return numel;
  }
  void set_steps(std::int64_t steps) { steps_ = steps; }

 private:
  struct Learner {
    std::string name;
    at::Tensor parameter;
    bool muon;
    at::Tensor momentum, variance, average;
  };

  double gradient_norm() const {
    double square = 0;
    for (const auto& learner : learners_)
      if (const auto& gradient = learner.parameter.grad(); gradient.defined() && !learner.muon)
        square += gradient.square().sum().item<double>();
    return std::sqrt(square);
  }

  void adamw(Learner& learner, const at::Tensor& gradient, double rate) const {
    const double lr = settings_.lr * rate, steps = static_cast<double>(steps_);
    learner.momentum.lerp_(gradient, 1 - settings_.beta1);
    learner.variance.mul_(settings_.beta2).addcmul_(gradient, gradient, 1 - settings_.beta2);
    const double correction1 = 1 - std::pow(settings_.beta1, steps),
                 correction2 = 1 - std::pow(settings_.beta2, steps);
    const auto deviation = (learner.variance / correction2).sqrt_().add_(settings_.eps);
    if (learner.parameter.dim() > 1) learner.parameter.mul_(1 - lr * settings_.weight_decay);
    learner.parameter.addcdiv_(learner.momentum, deviation, -lr / correction1);
  }

  /// A kernel (out, in, k, k) is the matrix (out, in·k·k). Nesterov's momentum; the step is scaled for tall
  /// matrices, so that outputs change alike for all shapes.
  void muon(Learner& learner, const at::Tensor& gradient, double rate) const {
    const double lr = settings_.muon_lr * rate;
    learner.momentum.lerp_(gradient, 1 - settings_.muon_momentum);
    const auto ahead = gradient.lerp(learner.momentum, settings_.muon_momentum).flatten(1);
    const double tallness = static_cast<double>(ahead.size(0)) / static_cast<double>(ahead.size(1));
    learner.parameter.mul_(1 - lr * 5 * settings_.weight_decay);
    learner.parameter.sub_(detail::orthogonalized(ahead).reshape(gradient.sizes()),
                           lr * std::sqrt(std::max(1., tallness)));
  }

  OptimizerSettings settings_;
  std::vector<Learner> learners_;
  std::int64_t steps_ = 0;
};

}  // namespace reno::shapes
