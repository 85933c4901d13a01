// Whether a picture shows what its prompt says, decided as GenEval does (Ghosh et al. 2023,
// arXiv:2310.11513) from the objects that were found: what must be there is there, and a number is exact.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "shapes/world/description.hpp"
#include "shapes/world/detect.hpp"

namespace reno::shapes {

struct Verdict {
  bool correct = false;  ///< GenEval's: all that was asked for is there; other objects do not matter
  bool strict = false;   ///< correct, and nothing else is there
  double partial = 0;    ///< fraction of what was asked for, in [0, 1]; 1 exactly when correct
};

namespace detail {

inline bool matches(const Thing& thing, const Detection& object) {
  return object.shape == thing.shape && (!thing.color || object.color == *thing.color);
}

/// Half for the shape, half for the colour, if one was asked for.
inline double resemblance(const Thing& thing, const Detection& object) {
  const double shape = object.shape == thing.shape ? 1 : 0;
  return thing.color ? (shape + (object.color == *thing.color ? 1 : 0)) / 2 : shape;
}

/// At least six pixels in that direction, and not much more across it.
inline bool holds(int relation, const Detection& a, const Detection& b) {
  const float dx = a.x - b.x, dy = a.y - b.y;
  const float along = (relation < 2 ? dx : dy) * (relation % 2 == 0 ? -1.F : 1.F);
  const float across = relation < 2 ? dy : dx;
  return along >= 6 && along >= .8F * std::abs(across);
}

inline double count_score(const Thing& thing, const std::vector<Detection>& objects) {
  const auto found = std::count_if(objects.begin(), objects.end(),
                                   [&](const Detection& object) { return matches(thing, object); });
  const double missing = std::abs(static_cast<double>(found) - thing.count) / thing.count;
  return std::max(0., 1 - missing);
}

inline double single_score(const Thing& thing, const std::vector<Detection>& objects) {
  double best = 0;
  for (const auto& object : objects) best = std::max(best, resemblance(thing, object));
  return best;
}

/// The best pair of distinct objects for the two things and their relation; a single one earns its half.
inline double pair_score(const Description& wanted, const std::vector<Detection>& objects) {
  const double parts = wanted.relation ? 3 : 2;
  double best = 0;
  for (std::size_t i = 0; i < objects.size(); ++i) {
    const double first = resemblance(wanted.things[0], objects[i]);
    best = std::max({best, first / parts, resemblance(wanted.things[1], objects[i]) / parts});
    for (std::size_t j = 0; j < objects.size(); ++j) {
      if (i == j) continue;
      const double related = wanted.relation && holds(*wanted.relation, objects[i], objects[j]) ? 1 : 0;
      best = std::max(best, (first + resemblance(wanted.things[1], objects[j]) + related) / parts);
    }
  }
  return best;
}

}  // namespace detail

inline Verdict judge(const std::vector<Detection>& objects, const Description& wanted) {
  const auto& first = wanted.things.front();
  const double partial = wanted.things.size() == 2 ? detail::pair_score(wanted, objects)
                         : first.count > 1         ? detail::count_score(first, objects)
                                                   : detail::single_score(first, objects);
  const bool correct = partial == 1;
  return {correct, correct && static_cast<int>(objects.size()) == wanted.objects(), partial};
}

/// image (3, 64, 64) in [0, 1].
inline Verdict judge(const at::Tensor& image, const Description& wanted) {
  return judge(detect(image), wanted);
}

}  // namespace reno::shapes
