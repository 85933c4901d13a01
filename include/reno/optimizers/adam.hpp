// Adam (Kingma and Ba, ICLR 2015): with the clipped gradient g,
//
//     m <- m + (1 - beta1) (g - m),        v <- beta2 v + (1 - beta2) g^2,
//     z <- z - lr / (1 - beta1^t) * m / ( sqrt(v / (1 - beta2^t)) + eps ).
//
// ReNO's eps of 1e-2 is of the size of a clipped gradient's elements.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <vector>

#include "reno/concepts.hpp"
#include "reno/context.hpp"
#include "reno/optimizers/clip.hpp"
#include "reno/optimizers/state.hpp"
#include "reno/options.hpp"

namespace reno {

/// Elementwise tensor operations in place, without synchronisation. The state is made in the first step, so a
/// CUDA graph may capture any later one; the count of steps is a tensor, so a replay counts on.
class Adam {
 public:
  struct Options {
    double lr = 5.0;
    double beta1 = 0.9;
    double beta2 = 0.999;
    double eps = 1e-2;
    double grad_clip = 0.1;
    void describe(auto& field) {
      field("lr", lr, "learning rate", reno::bounds{.low = 0.0});
      field("beta1", beta1, "decay of the running mean of the gradient", reno::bounds{0.0, 0.999999});
      field("beta2", beta2, "decay of the running mean of the squared gradient", reno::bounds{0.0, 0.999999});
      field("eps", eps, "added to the denominator", reno::bounds{.low = 0.0});
      field("grad_clip", grad_clip, "largest 2-norm of an image's gradient; 0 does not clip",
            reno::bounds{.low = 0.0});
    }
  };

  Adam(const Options& options, const Context& context) : options_(options), device_(context.device) {}

  void step(at::Tensor& noise, const Evaluation& evaluation, const Evaluate&) {
    const at::Tensor gradient = clip_by_norm(evaluation.gradient.detach(), options_.grad_clip);
    if (!mean_.defined()) {
      mean_ = at::zeros_like(gradient);
      mean_square_ = at::zeros_like(gradient);
      // In float64, for 1 - beta2^t loses most of its digits in float32.
      steps_ = at::zeros({}, gradient.options().dtype(at::kDouble));
    }
    detail::require_state_shape("adam", mean_, noise);
    steps_.add_(1.0);
    mean_.lerp_(gradient, 1.0 - options_.beta1);
    mean_square_.mul_(options_.beta2).addcmul_(gradient, gradient, 1.0 - options_.beta2);

    const at::Tensor bias1 = 1.0 - at::pow(options_.beta1, steps_);
    const at::Tensor bias2 = 1.0 - at::pow(options_.beta2, steps_);
    const at::Tensor denominator = mean_square_.sqrt().div_(bias2.sqrt()).add_(options_.eps);
    noise.detach().sub_((mean_ / denominator).mul_(options_.lr / bias1));
  }

  /// Mean and mean square (N, ...) and the count of steps (float64, 0-dim); nothing before the first step.
  std::vector<at::Tensor> state() const {
    if (!mean_.defined()) return {};
    return detail::snapshot({mean_, mean_square_, steps_});
  }

  void restore(const std::vector<at::Tensor>& state) {
    detail::require_state_count("adam", state, 3);
    const auto take = [&](std::size_t i) {
      return state.empty() ? at::Tensor() : state[i].clone().to(device_);
    };
    mean_ = take(0);
    mean_square_ = take(1);
    steps_ = take(2);
  }

 private:
  Options options_;
  at::Device device_;
  at::Tensor mean_;
  at::Tensor mean_square_;
  at::Tensor steps_;
};

}  // namespace reno
