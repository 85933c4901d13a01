// The two stages of every latent generator: each has its weights on the device while it works, on the way
// back too, and is marked on the clock.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>

#include "reno/nn/offload.hpp"
#include "reno/stage_clock.hpp"

namespace reno {

/// What a stage does, a function of one tensor that holds what else it needs, and the weights for it.
template <class Run>
struct Stage {
  const nn::Offload& weights;
  Run run;
};

template <class Run>
Stage(const nn::Offload&, Run) -> Stage<Run>;

/// decode(denoise(noise)). clock: may be null.
template <class Denoise, class Decode>
at::Tensor in_stages(const std::shared_ptr<StageClock>& clock, const at::Tensor& noise,
                     const Stage<Denoise>& denoise, const Stage<Decode>& decode) {
  mark_gradient(clock, noise, "denoise backward");
  const at::Tensor latents = denoise.weights.rebuilding_graph(noise, denoise.run);
  mark_stage(clock, "denoise");
  mark_gradient(clock, latents, "decode backward");
  at::Tensor images = decode.weights.rebuilding_graph(latents, decode.run);
  mark_stage(clock, "decode");
  return images;
}

}  // namespace reno
