// The sampling loop, the same for every scheduler and network.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>

#include <cstddef>
#include <functional>
#include <utility>

namespace reno::schedulers {

/// Gives noise like a sample: what stochastic samplers add between their steps.
using FreshNoise = std::function<at::Tensor(const at::Tensor& sample)>;

/// Samplers that add fresh noise at some of their steps, and take it as the last argument of `step`.
template <class Steps>
concept Stochastic = requires(const Steps& steps) {
  steps.adds_noise(std::size_t{});
};

/// From unit noise to the final latents. `steps` is what a scheduler's set_timesteps returns; `predict(input,
/// i)` is the network's output at step i. `fresh` is asked only by stochastic samplers, and never for the
/// last step: one step needs none.
template <class Steps, class Predict>
at::Tensor denoise(const Steps& steps, const at::Tensor& noise, Predict&& predict,
                   const FreshNoise& fresh = {}) {
  at::Tensor sample = noise * steps.init_noise_sigma;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const at::Tensor output = predict(steps.scale_model_input(sample, i), i);
    if constexpr (Stochastic<Steps>)
      sample = steps.step(output, i, sample, steps.adds_noise(i) ? fresh(output) : at::Tensor{});
    else
      sample = steps.step(output, i, sample);
  }
  return sample;
}

/// Classifier-free guidance (Ho & Salimans 2022) on a batch that holds the unconditional half, then the
/// conditional one.
inline at::Tensor guided(const at::Tensor& both, double guidance) {
  const auto halves = both.chunk(2);
  return halves[0] + guidance * (halves[1] - halves[0]);
}

}  // namespace reno::schedulers
