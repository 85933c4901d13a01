// What is in a picture, by degrees, and how true that makes a description: the labels from which rewards
// learn. They come from the parameters of what was painted, never from the judge.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "shapes/world/description.hpp"
#include "shapes/world/render.hpp"

namespace reno::shapes {

/// One object, perhaps doubtful.
struct Sight {
  std::array<float, shape_count> shape = {};  ///< how much it is each, in [0, 1]
  std::array<float, color_count> color = {};
  float presence = 0;  ///< 1: plainly there
  float x = 0, y = 0, radius = 0;
};

/// The first is on top.
using Sights = std::vector<Sight>;

namespace detail {

inline float ramp(float value, float from, float width) {
  return std::clamp((value - from) / width, 0.F, 1.F);
}

}  // namespace detail

/// To what degree a is left of, right of, above, below b.
inline float related(int relation, const Sight& a, const Sight& b) {
  const float dx = a.x - b.x, dy = a.y - b.y;
  const float along = (relation < 2 ? dx : dy) * (relation % 2 == 0 ? -1.F : 1.F);
  const float across = std::abs(relation < 2 ? dy : dx);
  return std::clamp(std::min((along - 3) / 6, (along - .8F * across) / 5 + .25F), 0.F, 1.F);
}

/// What covers another takes from both: from the lower most.
inline void hide_covered(Sights& sights) {
  std::vector<float> kept(sights.size(), 1);
  for (std::size_t j = 0; j < sights.size(); ++j)
    for (std::size_t i = 0; i < j; ++i) {
      const auto &upper = sights[i], &lower = sights[j];
      const float distance = std::hypot(upper.x - lower.x, upper.y - lower.y);
      const float overlap = detail::ramp(.85F * (upper.radius + lower.radius) - distance, 0, 6) *
                            std::min(upper.presence, lower.presence);
      kept[i] = std::min(kept[i], 1 - .25F * overlap);
      kept[j] = std::min(kept[j], 1 - .75F * overlap);
    }
  for (std::size_t i = 0; i < sights.size(); ++i) sights[i].presence *= kept[i];
}

namespace detail {

/// How much an object is a thing: the mean and the product of its properties.
struct Resemblance {
  float sum = 0, product = 0;
  int parts = 0;

  Resemblance(const Thing& thing, const Sight& sight) {
    add(sight.shape[thing.shape] * sight.presence);
    if (thing.color) add(sight.color[*thing.color] * sight.presence);
  }
  Resemblance(const Resemblance& a, const Resemblance& b)
      : sum(a.sum + b.sum), product(a.product * b.product), parts(a.parts + b.parts) {}

  void add(float property) {
    sum += property;
    product = parts++ == 0 ? property : product * property;
  }
  float value() const { return .4F * sum / static_cast<float>(parts) + .6F * product; }
};

/// One surplus object halves the truth, further ones take another part.
inline float without_surplus(const Sights& sights, std::size_t i, std::size_t j) {
  float most = 0, sum = 0;
  for (std::size_t k = 0; k < sights.size(); ++k) {
    if (k == i || k == j) continue;
    most = std::max(most, sights[k].presence);
    sum += sights[k].presence;
  }
  return 1 - .5F * most - .15F * std::min(sum - most, 1.F);
}

inline float truth_of_number(const Sights& sights, const Thing& thing) {
  float fitting = 0, surplus = 0;
  for (const auto& sight : sights) {
    const float fit = Resemblance(thing, sight).product;
    fitting += fit;
    surplus = std::max(surplus, sight.presence - fit);
  }
  const float missing = std::abs(fitting - static_cast<float>(thing.count));
  return std::max(0.F, 1 - .55F * missing) * (1 - .5F * surplus);
}

}  // namespace detail

/// How true a description is, in [0, 1]: 1 if it is all that is there.
inline float truth(const Sights& sights, const Description& wanted) {
  using detail::Resemblance;
  const auto &first = wanted.things.front(), &second = wanted.things.back();
  if (first.count > 1) return detail::truth_of_number(sights, first);
  float best = 0;
  for (std::size_t i = 0; i < sights.size(); ++i) {
    const Resemblance one(first, sights[i]);
    if (wanted.things.size() == 1) {
      best = std::max(best, one.value() * detail::without_surplus(sights, i, i));
      continue;
    }
    for (std::size_t j = 0; j < sights.size(); ++j) {
      if (j == i) continue;
      Resemblance both(one, Resemblance(second, sights[j]));
      if (wanted.relation)
        both.add(related(*wanted.relation, sights[i], sights[j]) *
                 std::min(sights[i].presence, sights[j].presence));
      best = std::max(best, both.value() * detail::without_surplus(sights, i, j));
    }
    if (sights.size() == 1 && wanted.things.size() == 2) {
      const Resemblance other(second, sights[i]);
      const auto parts = static_cast<float>(2 * one.parts + (wanted.relation ? 1 : 0));
      best = std::max(best, .4F * std::max(one.sum, other.sum) / parts);
    }
  }
  return best;
}

}  // namespace reno::shapes
