// The teacher of the generator: a rule that makes a picture from noise and a description, as a one-step model
// might. Objects appear at the peaks of the first channel of the noise; the second channel, the relation and
// the place decide which of the described things each of them is. So layout, number and binding come from the
// noise, identity from the text; pictures are often right and often wrong, and which noise is right is
// something that an optimiser can find. Everything is local: a convolutional network cannot learn a global
// map from noise to places. Everything but which cell is a peak is continuous in the noise.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "shapes/world/description.hpp"
#include "shapes/world/render.hpp"

namespace reno::shapes {

inline constexpr int noise_channels = 4, noise_size = 8;
inline constexpr int noise_numel = noise_channels * noise_size * noise_size;

/// What the teacher paints at one peak.
struct TaughtObject {
  Mark mark;
  int cell = 0;              ///< y · 8 + x of the peak
  int shape = 0, color = 0;  ///< what it mainly is
  bool clear = false;        ///< opaque, and hardly a mixture
};

struct TaughtScene {
  std::vector<TaughtObject> objects;  ///< the first is painted on top
  Background background;
};

namespace detail {

using Field = std::array<std::array<float, noise_size>, noise_size>;
inline constexpr float cell_size = static_cast<float>(image_size) / noise_size;

inline float logistic(float x) { return 1 / (1 + std::exp(-x)); }

/// A channel of the noise (4, 8, 8), smoothed over 3x3 cells; unit variance away from the borders.
inline Field smoothed(std::span<const float> noise, int channel) {
  static constexpr std::array<float, 3> tap = {.25F, .5F, .25F};
  Field field{};
  for (int y = 0; y < noise_size; ++y)
    for (int x = 0; x < noise_size; ++x)
      for (int v = std::max(y - 1, 0); v <= std::min(y + 1, noise_size - 1); ++v)
        for (int u = std::max(x - 1, 0); u <= std::min(x + 1, noise_size - 1); ++u)
          field[y][x] +=
              tap[v - y + 1] * tap[u - x + 1] / .375F * noise[(channel * noise_size + v) * noise_size + u];
  return field;
}

inline float mean(std::span<const float> values) {
  float sum = 0;
  for (const float value : values) sum += value;
  return sum / static_cast<float>(values.size());
}

/// Largest of the cells at most two rows and columns away.
inline bool is_peak(const Field& field, int y, int x) {
  for (int v = std::max(y - 2, 0); v <= std::min(y + 2, noise_size - 1); ++v)
    for (int u = std::max(x - 2, 0); u <= std::min(x + 2, noise_size - 1); ++u)
      if (field[v][u] > field[y][x]) return false;
  return true;
}

/// Where in pixels a peak is: the mean of its 3x3 cells, weighted by exp(2 · height).
inline std::pair<float, float> refined(const Field& field, int y, int x) {
  float sum = 0, sum_x = 0, sum_y = 0;
  for (int v = std::max(y - 1, 0); v <= std::min(y + 1, noise_size - 1); ++v)
    for (int u = std::max(x - 1, 0); u <= std::min(x + 1, noise_size - 1); ++u) {
      const float weight = std::exp(2 * (field[v][u] - field[y][x]));
      sum += weight;
      sum_x += weight * (static_cast<float>(u) + .5F);
      sum_y += weight * (static_cast<float>(v) + .5F);
    }
  return {cell_size * sum_x / sum, cell_size * sum_y / sum};
}

/// Things without a colour have the one that children's books give them.
inline int color_of(const Thing& thing) {
  static constexpr std::array<int, 4> usual = {0, 5, 3, 2};
  return thing.color ? *thing.color : usual[thing.shape];
}

/// How much of the first thing is at a point, against the second.
inline float share_of_first(const Description& wanted, float texture, float x, float y) {
  if (wanted.things.size() == 1) return 1;
  float side = 0;
  if (wanted.relation) {
    const float along = *wanted.relation < 2 ? x : y;
    side = (*wanted.relation % 2 == 0 ? -1.F : 1.F) * (2 * along / image_size - 1);
  }
  return logistic(5 * (texture + 1.5F * side));
}

}  // namespace detail

/// Peaks as high as this are objects: lower, where the prompt asks for more.
inline float peak_threshold(const Description& wanted) {
  static constexpr std::array<float, 5> by_count = {0, 1.25F, 1.1F, .8F, .55F};
  return by_count[wanted.objects()];
}

namespace detail {

struct Peak {
  float height;
  int cell;

  bool operator<(const Peak& other) const { return height < other.height; }
};

/// At most four, the highest first.
inline std::vector<Peak> highest_peaks(const Field& field) {
  constexpr std::size_t most = 4;
  std::vector<Peak> peaks;
  for (int y = 0; y < noise_size; ++y)
    for (int x = 0; x < noise_size; ++x)
      if (is_peak(field, y, x)) peaks.push_back({field[y][x], y * noise_size + x});
  std::sort(peaks.rbegin(), peaks.rend());
  if (peaks.size() > most) peaks.resize(most);
  return peaks;
}

/// Opacity, size and place of the object at a peak.
inline Mark mark_at(const Peak& peak, const Field& height, const Description& wanted) {
  const float strength = logistic((peak.height - peak_threshold(wanted)) / .22F);
  const float ramp = std::clamp((strength - .15F) / .5F, 0.F, 1.F);
  Mark mark;
  mark.opacity = ramp * ramp * (3 - 2 * ramp);
  mark.edge = 1.4F;
  mark.radius = wanted.objects() > 2 ? 6.8F + 3.2F * strength : 7 + 4.6F * strength;
  const auto [x, y] = refined(height, peak.cell / noise_size, peak.cell % noise_size);
  mark.x = std::clamp(x, mark.radius + 1, image_size - 1 - mark.radius);
  mark.y = std::clamp(y, mark.radius + 1, image_size - 1 - mark.radius);
  return mark;
}

/// Makes the mark a mixture of the two things.
inline TaughtObject identified(Mark mark, int cell, float share, const Description& wanted) {
  const Thing &first = wanted.things.front(), &second = wanted.things.back();
  mark.shape[first.shape] += share;
  mark.shape[second.shape] += 1 - share;
  for (int c = 0; c < 3; ++c)
    mark.rgb[c] = share * palette[color_of(first)][c] + (1 - share) * palette[color_of(second)][c];
  const Thing& main = share >= .5F ? first : second;
  const bool clear = mark.opacity > .5F && std::abs(share - .5F) > .3F;
  return {mark, cell, main.shape, color_of(main), clear};
}

}  // namespace detail

/// noise: 4·8·8 standard normal numbers.
inline TaughtScene teach(std::span<const float> noise, const Description& wanted) {
  using namespace detail;
  const Field height = smoothed(noise, 0), texture = smoothed(noise, 1);
  const float level = mean({texture.front().data(), noise_size * noise_size});
  TaughtScene scene;
  for (const auto& peak : highest_peaks(height)) {
    const Mark mark = mark_at(peak, height, wanted);
    if (mark.opacity <= 0) continue;
    const float local = texture[peak.cell / noise_size][peak.cell % noise_size] - level;
    const float share = share_of_first(wanted, local, mark.x, mark.y);
    scene.objects.push_back(identified(mark, peak.cell, share, wanted));
  }
  const auto brightness = noise.last(noise_size * noise_size);
  scene.background.rgb.fill(.5F + .34F * std::tanh(6.4F * mean(brightness)));
  return scene;
}

/// Paints one scene into (3, 64, 64), and where objects are, in [0, 1], into (64, 64) if that is defined.
inline void paint(const TaughtScene& scene, const at::Tensor& image, const at::Tensor& presence = {}) {
  Canvas canvas(image);
  canvas.fill(scene.background);
  for (auto object = scene.objects.rbegin(); object != scene.objects.rend(); ++object)
    canvas.paint(object->mark);
  canvas.clamp();
  if (!presence.defined()) return;
  float* pixels = presence.mutable_data_ptr<float>();
  for (int y = 0; y < image_size; ++y)
    for (int x = 0; x < image_size; ++x, ++pixels) {
      *pixels = 0;
      for (const auto& [mark, cell, shape, color, clear] : scene.objects)
        *pixels = std::max(*pixels, coverage(mark, static_cast<float>(x) + .5F - mark.x,
                                             static_cast<float>(y) + .5F - mark.y));
    }
}

}  // namespace reno::shapes
