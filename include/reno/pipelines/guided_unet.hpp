// A UNet along a sampling run: knows the time and the prompt of each step, and applies guidance.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>

#include <cstddef>
#include <optional>
#include <vector>

#include "reno/nn/unet2d_condition.hpp"
#include "reno/schedulers/denoise.hpp"

namespace reno {

/// What `schedulers::denoise` asks for predictions. With guidance, the rows of `prompt` (and of `times`,
/// where those differ from image to image) are the unconditional half, then the conditional one.
struct GuidedUNet {
  const nn::UNet2DConditionModel& unet;
  std::vector<at::Tensor> times;   ///< embedding of each time step
  at::Tensor prompt;               ///< (N or 2N, tokens, width)
  std::optional<double> guidance;  ///< scale

  at::Tensor operator()(const at::Tensor& input, std::size_t i) const {
    if (!guidance) return unet(input, times[i], prompt);
    return schedulers::guided(unet(at::cat({input, input}), times[i], prompt), *guidance);
  }
};

}  // namespace reno
