// Pictures whose prompts are known, for the tests of the shapes world.
#pragma once

#include <ATen/ATen.h>

#include <vector>

#include "shapes/world/judge.hpp"
#include "shapes/world/render.hpp"
#include "shapes/world/scene.hpp"

namespace reno::test {

struct LabelledImages {
  std::vector<shapes::Description> descriptions;
  at::Tensor images;  ///< (N, 3, 64, 64) in [0, 1]
};

/// True renders, `per_category` of each category.
inline LabelledImages true_renders(int per_category, std::uint64_t seed) {
  shapes::Random random(seed);
  LabelledImages labelled;
  std::vector<shapes::Scene> scenes;
  for (std::size_t c = 0; c < shapes::category_names.size(); ++c)
    for (int i = 0; i < per_category; ++i) {
      labelled.descriptions.push_back(random_description(static_cast<shapes::Category>(c), random));
      scenes.push_back(random_scene(labelled.descriptions.back(), random));
    }
  labelled.images = shapes::render(scenes);
  return labelled;
}

/// Fraction of the images that the judge calls correct for the descriptions, of one category or of all.
inline double accuracy(const at::Tensor& images, const std::vector<shapes::Description>& descriptions,
                       std::optional<shapes::Category> only = {}) {
  int correct = 0, count = 0;
  for (std::size_t i = 0; i < descriptions.size(); ++i) {
    if (only && category(descriptions[i]) != *only) continue;
    ++count;
    correct += shapes::judge(images[static_cast<std::int64_t>(i)], descriptions[i]).correct ? 1 : 0;
  }
  return static_cast<double>(correct) / count;
}

}  // namespace reno::test
