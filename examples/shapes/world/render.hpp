// Painting: shapes as signed distances, and coverage from the distance, which makes smooth edges without
// supersampling.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include "shapes/world/scene.hpp"
#include "shapes/world/vocabulary.hpp"

namespace reno::shapes {

/// Distance in pixels from (dx, dy), relative to the centre, to the outline; negative inside. All shapes lie
/// within a square of side 2·radius and have similar areas.
inline float signed_distance(int shape, float dx, float dy, float radius) {
  const float across = std::abs(dx), down = std::abs(dy);
  switch (shape) {
    case 0:
      return std::sqrt(dx * dx + dy * dy) - .95F * radius;
    case 1:
      return std::max(across, down) - .85F * radius;
    case 2: {  // apex (0, -r), base at .85 r, half as wide as r there
      const float height = 1.85F * radius;
      const float side = (across * height - (dy + radius) * radius) / std::hypot(height, radius);
      return std::max(side, dy - .85F * radius);
    }
    default: {
      const float arm = .36F * radius;
      return std::min(std::max(across - radius, down - arm), std::max(across - arm, down - radius));
    }
  }
}

/// What is painted: an object, possibly a doubtful one.
struct Mark {
  std::array<float, 4> shape = {};  ///< weights of the shapes' distances; sum 1
  Rgb rgb = {};
  float x = 0, y = 0, radius = 0;
  float opacity = 1;
  float edge = 1.2F;  ///< width of the soft edge in pixels
};

inline Mark mark(const Object& object) {
  Mark mark{{}, object.rgb, object.x, object.y, object.radius};
  mark.shape[object.shape] = 1;
  return mark;
}

/// How much of the pixel the mark covers, in [0, opacity].
inline float coverage(const Mark& mark, float dx, float dy) {
  float distance = 0;
  for (int shape = 0; shape < shape_count; ++shape)
    if (const float weight = mark.shape[shape]; weight > 0)
      distance += weight * signed_distance(shape, dx, dy, mark.radius);
  return mark.opacity * std::clamp(.5F - distance / mark.edge, 0.F, 1.F);
}

/// One picture under work: (3, 64, 64) floats in [0, 1].
class Canvas {
 public:
  explicit Canvas(at::Tensor image) : image_(std::move(image)), pixels_(image_.mutable_data_ptr<float>()) {}

  void fill(const Background& background) {
    for (int y = 0; y < image_size; ++y)
      for (int x = 0; x < image_size; ++x)
        for (int c = 0; c < 3; ++c)
          pixel(c, y, x) = background.rgb[c] + background.slope_x * (center(x) / image_size - .5F) +
                           background.slope_y * (center(y) / image_size - .5F);
  }

  /// Paints over what is there; `color_at(dx, dy)` is the mark's colour at a point.
  template <class ColorAt>
  void paint(const Mark& mark, ColorAt&& color_at) {
    const float reach = mark.radius + mark.edge;
    for (int y = first(mark.y - reach); y < last(mark.y + reach); ++y)
      for (int x = first(mark.x - reach); x < last(mark.x + reach); ++x) {
        const float dx = center(x) - mark.x, dy = center(y) - mark.y;
        const float cover = coverage(mark, dx, dy);
        if (cover <= 0) continue;
        const Rgb color = color_at(dx, dy);
        const float light = 1 - .1F * std::clamp(dy / mark.radius, -1.F, 1.F);  // from above
        for (int c = 0; c < 3; ++c) pixel(c, y, x) += cover * (light * color[c] - pixel(c, y, x));
      }
  }
  void paint(const Mark& mark) {
    paint(mark, [&](float, float) { return mark.rgb; });
  }

  void clamp() {
    for (float *value = pixels_, *end = pixels_ + 3 * image_size * image_size; value != end; ++value)
      *value = std::clamp(*value, 0.F, 1.F);
  }

 private:
  static float center(int i) { return static_cast<float>(i) + .5F; }
  static int first(float edge) { return std::clamp(static_cast<int>(std::floor(edge)), 0, image_size); }
  static int last(float edge) { return std::clamp(static_cast<int>(std::ceil(edge)), 0, image_size); }
  float& pixel(int c, int y, int x) { return pixels_[(c * image_size + y) * image_size + x]; }

  at::Tensor image_;
  float* pixels_;
};

/// Images (N, 3, 64, 64), float32 in [0, 1].
inline at::Tensor render(std::span<const Scene> scenes) {
  auto images = at::empty({static_cast<std::int64_t>(scenes.size()), 3, image_size, image_size}, at::kFloat);
  for (std::size_t i = 0; i < scenes.size(); ++i) {
    Canvas canvas(images.select(0, static_cast<std::int64_t>(i)));
    canvas.fill(scenes[i].background);
    for (auto object = scenes[i].objects.rbegin(); object != scenes[i].objects.rend(); ++object)
      canvas.paint(mark(*object));
    canvas.clamp();
  }
  return images;
}

}  // namespace reno::shapes
