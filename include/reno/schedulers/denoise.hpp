// The sampling loop, the same for every scheduler and network.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>

#include <cstddef>
#include <utility>

namespace reno::schedulers {

/// From unit noise to the final latents. `steps` is what a scheduler's set_timesteps returns; `predict(input,
/// i)` is the network's output at step i.
template <class Steps, class Predict>
at::Tensor denoise(const Steps& steps, const at::Tensor& noise, Predict&& predict) {
  at::Tensor sample = noise * steps.init_noise_sigma;
  for (std::size_t i = 0; i < steps.size(); ++i)
    sample = steps.step(predict(steps.scale_model_input(sample, i), i), i, sample);
  return sample;
}

/// Classifier-free guidance (Ho & Salimans 2022) on a batch that holds the unconditional half, then the
/// conditional one.
inline at::Tensor guided(const at::Tensor& both, double guidance) {
  const auto halves = both.chunk(2);
  return halves[0] + guidance * (halves[1] - halves[0]);
}

}  // namespace reno::schedulers
