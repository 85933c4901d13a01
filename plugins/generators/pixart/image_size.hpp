// The shapes of the images that PixArt-α was trained on, and how its pipeline makes an image of any other
// shape: it generates the most similar of them, resizes and crops (diffusers: PixArtImageProcessor).
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/upsample_bilinear2d.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

namespace reno {

struct Resolution {
  std::int64_t height;
  std::int64_t width;

  bool operator==(const Resolution&) const = default;
};

/// An aspect ratio (height / width, as its name in the data set rounds it) and the shape that stands for it
/// in the 1024-pixel model; the smaller models' are a half and a quarter of it.
struct AspectRatioBin {
  double ratio;
  Resolution size;
};

inline constexpr std::array<AspectRatioBin, 33> aspect_ratio_bins{{
    {0.25, {512, 2048}}, {0.28, {512, 1856}}, {0.32, {576, 1792}}, {0.33, {576, 1728}}, {0.35, {576, 1664}},
    {0.4, {640, 1600}},  {0.42, {640, 1536}}, {0.48, {704, 1472}}, {0.5, {704, 1408}},  {0.52, {704, 1344}},
    {0.57, {768, 1344}}, {0.6, {768, 1280}},  {0.68, {832, 1216}}, {0.72, {832, 1152}}, {0.78, {896, 1152}},
    {0.82, {896, 1088}}, {0.88, {960, 1088}}, {0.94, {960, 1024}}, {1.0, {1024, 1024}}, {1.07, {1024, 960}},
    {1.13, {1088, 960}}, {1.21, {1088, 896}}, {1.29, {1152, 896}}, {1.38, {1152, 832}}, {1.46, {1216, 832}},
    {1.67, {1280, 768}}, {1.75, {1344, 768}}, {2.0, {1408, 704}},  {2.09, {1472, 704}}, {2.4, {1536, 640}},
    {2.5, {1600, 640}},  {3.0, {1728, 576}},  {4.0, {2048, 512}},
}};

/// Whether a model whose latents have `sample_size` pixels along a side was trained on these shapes.
inline bool has_aspect_ratio_bins(std::int64_t sample_size) {
  return sample_size == 32 || sample_size == 64 || sample_size == 128;
}

/// The trained shape whose aspect ratio is nearest. The model `has_aspect_ratio_bins`.
inline Resolution nearest_bin(const Resolution& wanted, std::int64_t sample_size) {
  const double ratio = static_cast<double>(wanted.height) / static_cast<double>(wanted.width);
  const auto* const bin = std::min_element(
      aspect_ratio_bins.begin(), aspect_ratio_bins.end(),
      [&](const auto& a, const auto& b) { return std::abs(a.ratio - ratio) < std::abs(b.ratio - ratio); });
  const std::int64_t divisor = 128 / sample_size;
  return {bin->size.height / divisor, bin->size.width / divisor};
}

/// images (N, C, H, W) resized, bilinearly, until they cover `size`, and cropped around the centre.
inline at::Tensor resize_and_crop(const at::Tensor& images, const Resolution& size) {
  const auto height = images.size(2), width = images.size(3);
  if (Resolution{height, width} == size) return images;
  const double ratio = std::max(static_cast<double>(size.height) / static_cast<double>(height),
                                static_cast<double>(size.width) / static_cast<double>(width));
  const auto scaled = [&](std::int64_t length) {
    return static_cast<std::int64_t>(static_cast<double>(length) * ratio);
  };
  const auto resized =
      at::upsample_bilinear2d(images, {scaled(height), scaled(width)}, /*align_corners=*/false);
  return resized.narrow(2, (resized.size(2) - size.height) / 2, size.height)
      .narrow(3, (resized.size(3) - size.width) / 2, size.width);
}

}  // namespace reno
