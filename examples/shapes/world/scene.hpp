// Scenes: where which objects are. A scene is drawn to fit a description, without overlap, and with relations
// that nobody would dispute.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <vector>

#include "shapes/world/description.hpp"
#include "shapes/world/random.hpp"
#include "shapes/world/vocabulary.hpp"

namespace reno::shapes {

struct Object {
  int shape = 0;
  int color = 0;
  Rgb rgb = {};        ///< the colour as it is, near the palette's
  float x = 0, y = 0;  ///< centre in pixels, from the left and from the top
  float radius = 0;    ///< half of the larger side, in pixels
};

/// Grey, lightly tinted, with a linear gradient.
struct Background {
  Rgb rgb = {.5F, .5F, .5F};
  float slope_x = 0, slope_y = 0;  ///< change of brightness over the whole width and height
};

struct Scene {
  std::vector<Object> objects;  ///< the first is painted on top
  Background background;
};

/// The relation of a to b by the larger of the two distances.
inline int relation_between(const Object& a, const Object& b) {
  const float dx = a.x - b.x, dy = a.y - b.y;
  if (std::abs(dx) > std::abs(dy)) return dx < 0 ? 0 : 1;
  return dy < 0 ? 2 : 3;
}

inline Background random_background(Random& random) {
  Background background;
  const double grey = random.uniform(.12, .92);
  for (auto& channel : background.rgb) channel = static_cast<float>(grey + random.uniform(-.025, .025));
  background.slope_x = static_cast<float>(random.uniform(-.1, .1));
  background.slope_y = static_cast<float>(random.uniform(-.1, .1));
  return background;
}

/// A colour of the palette with a little variation in hue and brightness.
inline Rgb random_rgb(int color, Random& random) {
  Rgb rgb = palette[color];
  const double brightness = random.uniform(.92, 1);
  for (auto& channel : rgb)
    channel = static_cast<float>(std::clamp(channel + random.uniform(-.04, .04), 0., 1.) * brightness);
  return rgb;
}

namespace detail {

/// Radii by the number of objects in the picture: they must fit.
inline double random_radius(int objects, Random& random) {
  switch (objects) {
    case 1:
      return random.uniform(9, 19);
    case 2:
      return random.uniform(8, 13);
    case 3:
      return random.uniform(7.5, 10.5);
    default:
      return random.uniform(7, 9);
  }
}

inline bool apart(const Object& a, const Object& b) {
  return std::max(std::abs(a.x - b.x), std::abs(a.y - b.y)) > a.radius + b.radius + 2;
}

/// The relation holds, and the other direction differs by much less.
inline bool clearly(int relation, const Object& a, const Object& b) {
  const float across = std::abs(a.x - b.x), down = std::abs(a.y - b.y);
  return relation_between(a, b) == relation && std::abs(across - down) > 4;
}

}  // namespace detail

/// Gives the objects (whose shapes are set) radii and places: inside the picture, apart from each other, and
/// with this relation of the first to the second if one is asked for.
inline void place(std::vector<Object>& objects, std::optional<int> relation, Random& random) {
  const auto fits = [&] {
    for (std::size_t i = 0; i < objects.size(); ++i)
      for (std::size_t j = 0; j < i; ++j)
        if (!detail::apart(objects[i], objects[j])) return false;
    return !relation || detail::clearly(*relation, objects[0], objects[1]);
  };
  double shrink = 1;
  do {
    for (auto& object : objects) {
      const double radius = shrink * detail::random_radius(static_cast<int>(objects.size()), random);
      object.radius = static_cast<float>(radius);
      object.x = static_cast<float>(random.uniform(radius + 2, image_size - radius - 2));
      object.y = static_cast<float>(random.uniform(radius + 2, image_size - radius - 2));
    }
    shrink *= .998;  // crowded scenes end up a little smaller; five pixels always fit
  } while (!fits());
}

/// A random scene of which the description is true and complete. What it leaves open (colours, sizes, places)
/// is random.
inline Scene random_scene(const Description& description, Random& random) {
  Scene scene;
  for (const auto& thing : description.things)
    for (int i = 0; i < thing.count; ++i) {
      Object object;
      object.shape = thing.shape;
      object.color = thing.color ? *thing.color : random.below(color_count);
      object.rgb = random_rgb(object.color, random);
      scene.objects.push_back(object);
    }
  place(scene.objects, description.relation, random);
  scene.background = random_background(random);
  return scene;
}

}  // namespace reno::shapes
