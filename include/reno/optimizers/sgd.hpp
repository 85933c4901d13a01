// Stochastic gradient descent with momentum, ReNO's optimizer (Eyring et al., NeurIPS 2024): with the clipped
// gradient g,
//
//     v <- momentum v + g,        z <- z - lr (g + momentum v)   (Nesterov), or z - lr v   (heavy ball),
//
// in the formulation of Sutskever et al., ICML 2013, as PyTorch has it.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/add.h>
#include <ATen/ops/zeros_like.h>

#include <vector>

#include "reno/concepts.hpp"
#include "reno/context.hpp"
#include "reno/optimizers/clip.hpp"
#include "reno/optimizers/state.hpp"
#include "reno/options.hpp"

namespace reno {

/// Elementwise tensor operations in place, without synchronisation. The state is made in the first step, so a
/// CUDA graph may capture any later one.
class SGD {
 public:
  struct Options {
    double lr = 5.0;
    double momentum = 0.9;
    bool nesterov = true;
    double grad_clip = 0.1;
    void describe(auto& field) {
      field("lr", lr, "learning rate", reno::bounds{.low = 0.0});
      field("momentum", momentum, "share of the previous velocity that is kept", reno::bounds{0.0, 1.0});
      field("nesterov", nesterov, "look ahead along the velocity");
      field("grad_clip", grad_clip, "largest 2-norm of an image's gradient; 0 does not clip",
            reno::bounds{.low = 0.0});
    }
  };

  SGD(const Options& options, const Context& context) : options_(options), device_(context.device) {}

  void step(at::Tensor& noise, const Evaluation& evaluation, const Evaluate&) {
    const at::Tensor gradient = clip_by_norm(evaluation.gradient.detach(), options_.grad_clip);
    if (!velocity_.defined()) velocity_ = at::zeros_like(gradient);
    detail::require_state_shape("sgd", velocity_, noise);
    velocity_.mul_(options_.momentum).add_(gradient);
    const at::Tensor update = options_.nesterov ? at::add(gradient, velocity_, options_.momentum) : velocity_;
    noise.detach().add_(update, -options_.lr);
  }

  /// The velocity (N, ...); nothing before the first step.
  std::vector<at::Tensor> state() const {
    if (!velocity_.defined()) return {};
    return detail::snapshot({velocity_});
  }

  void restore(const std::vector<at::Tensor>& state) {
    detail::require_state_count("sgd", state, 1);
    velocity_ = state.empty() ? at::Tensor() : state[0].clone().to(device_);
  }

 private:
  Options options_;
  at::Device device_;
  at::Tensor velocity_;
};

}  // namespace reno
