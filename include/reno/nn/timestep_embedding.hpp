// How a diffusion model is told the time step (and other plain numbers): sinusoids of geometrically spaced
// frequencies (Vaswani et al. 2017, section 3.5), then a small perceptron.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/sin.h>

#include <cmath>
#include <cstdint>

#include "reno/nn/modules.hpp"

namespace reno::nn {

/// Numbers (n) -> (n, channels), float32: sin and cos of x / 10000^(i / (channels/2 - freq_shift)).
struct Timesteps {
  std::int64_t channels;  ///< even
  bool flip_sin_to_cos;   ///< cosines first
  double freq_shift;

  at::Tensor operator()(const at::Tensor& x) const {
    const std::int64_t half = channels / 2;
    const auto steps = at::arange(half, at::TensorOptions(at::kFloat).device(x.device()));
    const auto frequencies = at::exp(steps * -std::log(10000.0) / (static_cast<double>(half) - freq_shift));
    const auto angles = x.to(at::kFloat).unsqueeze(-1) * frequencies;
    return flip_sin_to_cos ? at::cat({angles.cos(), angles.sin()}, -1)
                           : at::cat({angles.sin(), angles.cos()}, -1);
  }
};

/// Features (..., in) -> (..., size).
struct TimestepEmbedding {
  Linear linear_1;
  Linear linear_2;

  TimestepEmbedding(const Weights& w, std::int64_t in, std::int64_t size)
      : linear_1(w / "linear_1", in, size), linear_2(w / "linear_2", size, size) {}

  at::Tensor operator()(const at::Tensor& x) const { return linear_2(at::silu(linear_1(x))); }
};

}  // namespace reno::nn
