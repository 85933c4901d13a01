// What the generator is shown: prompts, noise, and the teacher's pictures, as tensors. A lesson depends on
// its seed alone, so that training continues from a checkpoint as if it had not stopped.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>
#include <vector>

#include "shapes/train/teacher.hpp"
#include "shapes/world/description.hpp"
#include "shapes/world/random.hpp"

namespace reno::shapes {

/// Seed number `index` of a stream (splitmix64: Steele et al. 2014).
inline std::uint64_t stream_seed(std::uint64_t seed, std::uint64_t index) {
  std::uint64_t z = seed * 0x9E3779B97F4A7C15U + index * 0xD1342543DE82EF95U + 0x632BE59BD9B4E019U;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
  return z ^ (z >> 31);
}

/// How often each category is asked for.
using CategoryWeights = std::array<double, category_names.size()>;
/// single object, colours, two objects, counting, position, colour attribution, position and colours
inline constexpr CategoryWeights easy_prompts = {0, 10, 0, 10, 0, 70, 10};
inline constexpr CategoryWeights all_prompts = {5, 10, 13, 14, 13, 22, 23};

inline Category random_category(const CategoryWeights& weights, Random& random) {
  double sum = 0;
  for (const double weight : weights) sum += weight;
  double left = random.uniform(0, sum);
  for (std::size_t c = 0; c < weights.size(); ++c)
    if ((left -= weights[c]) < 0) return static_cast<Category>(c);
  return Category::position_attr;
}

/// A prompt that training may show.
inline Description training_description(const CategoryWeights& weights, Random& random) {
  for (;;)
    if (auto description = random_description(random_category(weights, random), random);
        !held_out(description))
      return description;
}

inline std::string random_text(const Description& description, Random& random) {
  const bool photo = random.chance(.25);
  return text(description, {photo, random.chance(.3)});
}

inline at::Tensor random_noise(std::size_t count, Random& random) {
  auto noise =
      at::empty({static_cast<std::int64_t>(count), noise_channels, noise_size, noise_size}, at::kFloat);
  float* values = noise.mutable_data_ptr<float>();
  for (std::size_t i = 0; i < count * noise_numel; ++i) values[i] = static_cast<float>(random.normal());
  return noise;
}

struct Lesson {
  std::vector<Description> descriptions;
  std::vector<std::string> prompts;
  at::Tensor noise;           ///< (N, 4, 8, 8)
  at::Tensor images;          ///< (N, 3, 64, 64) in [-1, 1]
  at::Tensor presence;        ///< (N, 1, 64, 64) in [0, 1]
  at::Tensor cells;           ///< of the clear objects: image · 64 + cell
  at::Tensor shapes, colors;  ///< of the clear objects
};

/// The teacher's pictures for these descriptions and noises.
inline void illustrate(Lesson& lesson) {
  const auto count = static_cast<std::int64_t>(lesson.descriptions.size());
  lesson.images = at::empty({count, 3, image_size, image_size}, at::kFloat);
  lesson.presence = at::empty({count, 1, image_size, image_size}, at::kFloat);
  std::vector<std::int64_t> cells, shapes, colors;
  const float* noise = lesson.noise.const_data_ptr<float>();
  for (std::int64_t i = 0; i < count; ++i) {
    const auto scene =
        teach({noise + i * noise_numel, noise_numel}, lesson.descriptions[static_cast<std::size_t>(i)]);
    paint(scene, lesson.images[i], lesson.presence[i]);
    for (const auto& object : scene.objects) {
      if (!object.clear) continue;
      cells.push_back(i * noise_size * noise_size + object.cell);
      shapes.push_back(object.shape);
      colors.push_back(object.color);
    }
  }
  lesson.images.mul_(2).sub_(1);
  lesson.cells = at::tensor(cells, at::kLong);
  lesson.shapes = at::tensor(shapes, at::kLong);
  lesson.colors = at::tensor(colors, at::kLong);
}

inline Lesson make_lesson(const std::vector<Description>& descriptions, Random& random) {
  Lesson lesson{descriptions, {}, {}, {}, {}, {}, {}, {}};
  for (const auto& description : descriptions) lesson.prompts.push_back(random_text(description, random));
  lesson.noise = random_noise(descriptions.size(), random);
  illustrate(lesson);
  return lesson;
}

inline std::vector<Description> training_descriptions(int count, const CategoryWeights& weights,
                                                      Random& random) {
  std::vector<Description> descriptions;
  for (int i = 0; i < count; ++i) descriptions.push_back(training_description(weights, random));
  return descriptions;
}

}  // namespace reno::shapes
