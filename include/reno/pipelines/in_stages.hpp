// The two stages of every latent generator, marked on the clock, on the way back too.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>

#include "reno/stage_clock.hpp"

namespace reno {

/// decode(denoise(noise)). clock: may be null.
template <class Denoise, class Decode>
at::Tensor in_stages(const std::shared_ptr<StageClock>& clock, const at::Tensor& noise,
                     const Denoise& denoise, const Decode& decode) {
  mark_gradient(clock, noise, "denoise backward");
  const at::Tensor latents = denoise(noise);
  mark_stage(clock, "denoise");
  mark_gradient(clock, latents, "decode backward");
  at::Tensor images = decode(latents);
  mark_stage(clock, "decode");
  return images;
}

}  // namespace reno
