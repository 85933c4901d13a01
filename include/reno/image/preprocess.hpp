// From images to the pixels that a reward model sees: resize the short side, crop the centre, normalise.
// Computed once per distinct specification and shared by all rewards that ask for the same one;
// differentiable. Follows torchvision's transforms on tensors: Resize(size, bicubic, antialias) truncates the
// long side, CenterCrop rounds its offset half to even, nothing is clamped.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/_upsample_bicubic2d_aa.h>
#include <ATen/ops/div.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/sub.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <utility>

namespace reno {

/// Mean and standard deviation of CLIP's training images (OpenAI's repository, clip/clip.py).
inline constexpr std::array<double, 3> clip_mean = {0.48145466, 0.4578275, 0.40821073};
inline constexpr std::array<double, 3> clip_std = {0.26862954, 0.26130258, 0.27577711};

/// A reward's wish for its pixels; equal specifications are computed once.
struct Preprocess {
  std::int64_t size = 224;  ///< pixels of the square result
  std::array<double, 3> mean = clip_mean;
  std::array<double, 3> std = clip_std;

  bool operator==(const Preprocess&) const = default;
};

/// Height and width after the short side became `size`; the long side is truncated, as torchvision does.
inline std::pair<std::int64_t, std::int64_t> resized_shape(std::int64_t height, std::int64_t width,
                                                           std::int64_t size) {
  const auto [shorter, longer] = std::minmax(height, width);
  const std::int64_t scaled = size * longer / shorter;
  return height <= width ? std::pair{size, scaled} : std::pair{scaled, size};
}

/// Where a centre crop begins: half of the surplus, rounded half to even as Python's round() does.
inline std::int64_t crop_offset(std::int64_t length, std::int64_t size) {
  return static_cast<std::int64_t>(std::nearbyint(static_cast<double>(length - size) / 2.0));
}

/// One value per channel (1,3,1,1). Filled on the device: a copy from the host would wait for a GPU's queue.
inline at::Tensor per_channel(const std::array<double, 3>& values, const at::TensorOptions& options) {
  auto result = at::empty({1, 3, 1, 1}, options);
  for (std::int64_t i = 0; i < 3; ++i) result.select(1, i).fill_(values[static_cast<std::size_t>(i)]);
  return result;
}

/// images (N,3,H,W) in [0,1] -> pixels (N,3,size,size) in the images' dtype. The resize of half-precision
/// images is computed in float32 and rounded back, the normalisation runs in the narrow type; both as
/// torchvision does.
inline at::Tensor preprocess(const at::Tensor& images, const Preprocess& spec) {
  const auto [height, width] = resized_shape(images.size(2), images.size(3), spec.size);
  at::Tensor pixels = images;
  if (height != images.size(2) || width != images.size(3)) {
    const bool half = images.scalar_type() == at::kHalf || images.scalar_type() == at::kBFloat16;
    pixels = at::_upsample_bicubic2d_aa(half ? images.to(at::kFloat) : images, {height, width},
                                        /*align_corners=*/false);
    pixels = pixels.to(images.scalar_type());
  }
  const auto top = crop_offset(height, spec.size);
  const auto left = crop_offset(width, spec.size);
  pixels = pixels.narrow(2, top, spec.size).narrow(3, left, spec.size);
  const auto constants = images.options().requires_grad(false);
  return at::div(at::sub(pixels, per_channel(spec.mean, constants)), per_channel(spec.std, constants));
}

}  // namespace reno
