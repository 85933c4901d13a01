// What the blocks of diffusion transformers have in common (Peebles & Xie 2023, arXiv:2212.09748): a
// condition such as the time step enters as shifts, scales and gates around attention and feed-forward
// network.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/addcmul.h>
#include <ATen/ops/gelu.h>

#include <cstdint>

#include "reno/nn/modules.hpp"

namespace reno::nn {

/// x · (1 + scale) + shift.
inline at::Tensor modulated(const at::Tensor& x, const at::Tensor& shift, const at::Tensor& scale) {
  return at::addcmul(shift, x, 1 + scale);
}

/// x + gate · update.
inline at::Tensor gated(const at::Tensor& x, const at::Tensor& gate, const at::Tensor& update) {
  return at::addcmul(x, gate, update);
}

/// W2 gelu(W1 x), gelu by its tanh formula, four times as wide inside (diffusers: FeedForward with
/// "gelu-approximate").
struct TanhFeedForward {
  Linear proj;
  Linear out;

  TanhFeedForward(const Weights& w, std::int64_t size)
      : proj(w / "net.0.proj", size, 4 * size), out(w / "net.2", 4 * size, size) {}

  at::Tensor operator()(const at::Tensor& x) const { return out(at::gelu(proj(x), "tanh")); }
};

}  // namespace reno::nn
