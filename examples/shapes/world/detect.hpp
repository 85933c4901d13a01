// Finds objects in a picture without any network: pixels are segmented by hue, connected regions of one
// colour are compared with each shape drawn into their bounding box. What fits no shape is still an object.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "shapes/world/render.hpp"
#include "shapes/world/vocabulary.hpp"

namespace reno::shapes {

struct Detection {
  std::optional<int> shape;  ///< nothing if it resembles none
  int color = 0;
  float x = 0, y = 0;  ///< centre of gravity in pixels
  int area = 0;        ///< pixels
  float fit = 0;       ///< intersection over union with the best shape
};

/// What counts as an object. Set so that true renders are read without error and soft or faint ones are not
/// taken for good.
struct DetectionLimits {
  float chroma = .25F;   ///< a pixel's max - min of (r, g, b) from which it is coloured
  int area = 40;         ///< pixels of the smallest object
  float fit = .72F;      ///< intersection over union from which a region has a shape
  float aspect = 1.47F;  ///< width to height and height to width of a region with a shape, at most
};

namespace detail {

inline float chroma(const Rgb& rgb) {
  const auto [low, high] = std::minmax_element(rgb.begin(), rgb.end());
  return *high - *low;
}

/// Angle on the colour circle in sixths of it, in [0, 6).
inline float hue(const Rgb& rgb) {
  const auto [r, g, b] = rgb;
  const float high = std::max({r, g, b}), range = std::max(chroma(rgb), 1e-6F);
  if (high == r) return std::fmod((g - b) / range + 6, 6.F);
  return high == g ? (b - r) / range + 2 : (r - g) / range + 4;
}

inline int nearest_color(const Rgb& rgb) {
  static const auto hues = [] {
    std::array<float, color_count> hues{};
    std::transform(palette.begin(), palette.end(), hues.begin(), hue);
    return hues;
  }();
  const float angle = hue(rgb);
  int best = 0;
  float least = std::numeric_limits<float>::max();
  for (int color = 0; color < color_count; ++color) {
    const float turn = std::abs(angle - hues[color]);
    if (const float distance = std::min(turn, 6 - turn); distance < least)
      std::tie(best, least) = std::pair(color, distance);
  }
  return best;
}

using Pixel = std::pair<int, int>;  // y, x
using Grid = std::array<std::array<int, image_size>, image_size>;

/// The colour of each pixel; -1 where there is none.
inline Grid segment(const at::Tensor& image, const DetectionLimits& limits) {
  const auto pixels = image.accessor<float, 3>();
  Grid colors;
  for (int y = 0; y < image_size; ++y)
    for (int x = 0; x < image_size; ++x) {
      Rgb rgb;
      for (int c = 0; c < 3; ++c) rgb[c] = std::clamp(pixels[c][y][x], 0.F, 1.F);
      colors[y][x] = chroma(rgb) > limits.chroma ? nearest_color(rgb) : -1;
    }
  return colors;
}

/// Takes the pixels that are connected with `start` and have its colour out of the grid.
inline std::vector<Pixel> take_region(Grid& colors, Pixel start) {
  const int color = colors[start.first][start.second];
  std::vector<Pixel> region;
  const auto take = [&](int y, int x) {
    if (y < 0 || x < 0 || y >= image_size || x >= image_size || colors[y][x] != color) return;
    colors[y][x] = -1;
    region.emplace_back(y, x);
  };
  take(start.first, start.second);
  for (std::size_t i = 0; i < region.size(); ++i) {
    const auto [y, x] = region[i];
    take(y, x - 1);
    take(y, x + 1);
    take(y - 1, x);
    take(y + 1, x);
  }
  return region;
}

/// Bounding box [top, bottom) x [left, right).
struct Box {
  int top = image_size, left = image_size, bottom = 0, right = 0;

  explicit Box(const std::vector<Pixel>& region) {
    for (const auto& [y, x] : region) {
      top = std::min(top, y);
      left = std::min(left, x);
      bottom = std::max(bottom, y + 1);
      right = std::max(right, x + 1);
    }
  }
  float width() const { return static_cast<float>(right - left); }
  float height() const { return static_cast<float>(bottom - top); }
};

/// Whether the pixel belongs to the shape that is stretched to fill the box.
inline bool inside(int shape, const Box& box, int y, int x) {
  // Half width, half height and centre of each shape of radius 1.
  static constexpr std::array<float, 4> wide = {.95F, .85F, 1.F, 1.F}, high = {.95F, .85F, .925F, 1.F};
  const float dx = (static_cast<float>(x) + .5F - .5F * static_cast<float>(box.left + box.right)) /
                   (.5F * box.width()) * wide[shape];
  const float dy = (static_cast<float>(y) + .5F - .5F * static_cast<float>(box.top + box.bottom)) /
                   (.5F * box.height()) * high[shape];
  return signed_distance(shape, dx, shape == 2 ? dy - .075F : dy, 1) < 0;
}

/// Intersection over union of the region and the shape in its box.
inline float fit(int shape, const Box& box, const std::vector<Pixel>& region) {
  int common = 0, template_area = 0;
  for (const auto& [y, x] : region) common += inside(shape, box, y, x) ? 1 : 0;
  for (int y = box.top; y < box.bottom; ++y)
    for (int x = box.left; x < box.right; ++x) template_area += inside(shape, box, y, x) ? 1 : 0;
  const int together = template_area + static_cast<int>(region.size()) - common;
  return static_cast<float>(common) / static_cast<float>(together);
}

inline Detection describe(const std::vector<Pixel>& region, int color, const DetectionLimits& limits) {
  const Box box(region);
  Detection found;
  found.color = color;
  found.area = static_cast<int>(region.size());
  for (const auto& [y, x] : region) {
    found.x += (static_cast<float>(x) + .5F) / static_cast<float>(region.size());
    found.y += (static_cast<float>(y) + .5F) / static_cast<float>(region.size());
  }
  int best = 0;
  for (int shape = 0; shape < shape_count; ++shape)
    if (const float value = fit(shape, box, region); value > found.fit)
      std::tie(best, found.fit) = std::pair(shape, value);
  const float aspect = std::max(box.width() / box.height(), box.height() / box.width());
  if (found.fit >= limits.fit && aspect < limits.aspect) found.shape = best;
  return found;
}

}  // namespace detail

/// The objects of a picture (3, 64, 64) in [0, 1], of any floating dtype and device; from top to bottom.
inline std::vector<Detection> detect(const at::Tensor& image, const DetectionLimits& limits = {}) {
  auto colors = detail::segment(image.detach().to(at::kCPU, at::kFloat), limits);
  std::vector<Detection> found;
  for (int y = 0; y < image_size; ++y)
    for (int x = 0; x < image_size; ++x) {
      const int color = colors[y][x];
      if (color < 0) continue;
      const auto region = detail::take_region(colors, {y, x});
      if (static_cast<int>(region.size()) >= limits.area)
        found.push_back(detail::describe(region, color, limits));
    }
  return found;
}

}  // namespace reno::shapes
