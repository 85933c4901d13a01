// How feature maps (N, C, H, W) lie in memory while they go through convolutions and group norms: planar, or
// channels-last, where the channels of a pixel are neighbours. A GPU's matrix units want the latter for half
// precision. On the CPU convolutions of few channels over many pixels, as in a decoder, are 10 to 20 %
// faster with it, those of a denoiser are not. Either pays only with group norms made for that layout:
// LibTorch's turns it back on a GPU and is slow on the CPU.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/MemoryFormat.h>
#include <c10/core/ScalarType.h>

#include "reno/nn/operator.hpp"

namespace reno::nn {

enum class FeatureMaps { of_denoiser, of_decoder };

inline at::MemoryFormat layout_of(FeatureMaps maps, at::Device device, at::ScalarType dtype) {
  const bool half = dtype == at::kHalf || dtype == at::kBFloat16;
  const bool pays = device.is_cuda()
                        ? half
                        : device.is_cpu() && maps == FeatureMaps::of_decoder && (half || dtype == at::kFloat);
  return pays && find_operator<GroupNormOperator>("reno::group_norm", device.type())
             ? at::MemoryFormat::ChannelsLast
             : at::MemoryFormat::Contiguous;
}

/// `x` as the network wants it that it enters.
inline at::Tensor laid_out(const at::Tensor& x, FeatureMaps maps) {
  return x.contiguous(layout_of(maps, x.device(), x.scalar_type()));
}

/// How a network's 3x3 kernels are kept: on a GPU like what they are applied to, lest they be turned at each
/// use; on the CPU as they lie in the file, since its library packs them by itself.
inline at::MemoryFormat kernel_layout(at::Device device, at::ScalarType dtype) {
  return device.is_cuda() ? layout_of(FeatureMaps::of_denoiser, device, dtype) : at::MemoryFormat::Contiguous;
}

}  // namespace reno::nn
