// Captions of scenes, and small lies: descriptions and scenes that differ in one thing.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>
#include <vector>

#include "shapes/world/description.hpp"
#include "shapes/world/scene.hpp"

namespace reno::shapes {

/// One of the descriptions that are true of a scene (of its first two objects, if they are of several kinds).
inline Description describe(const Scene& scene, Random& random) {
  const auto& objects = scene.objects;
  const Object& a = objects.front();
  const auto all = [&](auto&& property) {
    return std::all_of(objects.begin(), objects.end(),
                       [&](const Object& o) { return property(o) == property(a); });
  };
  const bool same_shape = all([](const Object& o) { return o.shape; });
  const bool same_color = all([](const Object& o) { return o.color; });
  Thing one{a.shape, a.color};
  if (objects.size() == 1) {
    if (random.chance(.25)) one.color.reset();
    return {{one}};
  }
  if (same_shape && (same_color || objects.size() > 2 || random.chance(.4))) {
    one.count = static_cast<int>(objects.size());
    if (!same_color || random.chance(.4)) one.color.reset();
    return {{one}};
  }
  const bool turn = random.chance(.5);
  const Object &first = turn ? objects[1] : a, &second = turn ? a : objects[1];
  Description description{{{first.shape, first.color}, {second.shape, second.color}}};
  if (!same_shape && first.shape != second.shape && random.chance(.28))
    for (auto& thing : description.things) thing.color.reset();
  const int relation = relation_between(first, second);
  if (random.chance(.65) && detail::clearly(relation, first, second)) description.relation = relation;
  return description;
}

namespace detail {

/// Another number below `count`.
inline int another(int value, int count, Random& random) {
  return (value + 1 + random.below(count - 1)) % count;
}

inline void change_one(Description& description, Random& random) {
  auto& things = description.things;
  auto& thing = things[static_cast<std::size_t>(random.below(static_cast<int>(things.size())))];
  if (description.relation && random.chance(.5)) {
    description.relation = random.chance(.5) ? opposite(*description.relation)
                                             : another(*description.relation, relation_count, random);
    return;
  }
  switch (random.below(5)) {
    case 0:
      if (things.size() == 2 && things[0].color) std::swap(things[0].color, things[1].color);
      break;
    case 1:
      if (thing.color) thing.color = another(*thing.color, color_count, random);
      break;
    case 2:
      thing.shape = another(thing.shape, shape_count, random);
      break;
    case 3:
      if (things.size() == 1) thing.count = 1 + another(thing.count - 1, most_of_a_kind, random);
      break;
    default:
      if (things.size() == 2 && random.chance(.4)) {
        things.erase(things.begin() + random.below(2));
        description.relation.reset();
      }
  }
}

/// A prompt that one would write: of two things that differ in what is said of them.
inline bool sensible(const Description& description) {
  if (description.things.size() == 1) return true;
  const auto &a = description.things[0], &b = description.things[1];
  return a.shape != b.shape || (a.color && a.color != b.color);
}

}  // namespace detail

/// The description with one thing changed.
inline Description altered(const Description& description, Random& random) {
  for (;;) {
    Description other = description;
    detail::change_one(other, random);
    if (!(other == description) && detail::sensible(other)) return other;
  }
}

/// Whether the scene shows a pair that training must not see.
inline bool held_out(const Scene& scene) {
  if (scene.objects.size() != 2) return false;
  const auto &a = scene.objects[0], &b = scene.objects[1];
  return held_out(a.shape, a.color, b.shape, b.color);
}

/// The scene with one thing changed: colours or shapes exchanged, a colour, a shape, places, or the number.
inline Scene altered(const Scene& scene, Random& random) {
  Scene other = scene;
  auto& objects = other.objects;
  const int count = static_cast<int>(objects.size());
  const int chosen = random.below(count);
  Object& object = objects[static_cast<std::size_t>(chosen)];
  Object& next =
      objects[static_cast<std::size_t>(count > 1 ? detail::another(chosen, count, random) : chosen)];
  switch (random.below(8)) {
    case 0:
      std::swap(object.color, next.color);
      break;
    case 1:
      std::swap(object.shape, next.shape);
      break;
    case 2:
      object.color = detail::another(object.color, color_count, random);
      break;
    case 3:
      object.shape = detail::another(object.shape, shape_count, random);
      break;
    case 4:
      std::swap(object.x, next.x);
      std::swap(object.y, next.y);
      break;
    case 5:
      for (auto& each : objects) each.x = image_size - each.x;
      if (random.chance(.5))
        for (auto& each : objects) std::swap(each.x, each.y);
      break;
    case 6:
      if (count > 1) objects.pop_back();
      break;
    default:
      if (count < most_of_a_kind) {
        Object extra = random.chance(.5) ? object : objects.front();
        if (random.chance(.3)) extra.shape = random.below(shape_count);
        if (random.chance(.3)) extra.color = random.below(color_count);
        objects.push_back(extra);
        place(objects, {}, random);
      }
  }
  for (auto& each : objects) each.rgb = random_rgb(each.color, random);
  return other;
}

/// A scene that training may show.
inline Scene training_scene(Random& random) {
  static constexpr std::array<Category, 8> categories = {
      Category::colors,     Category::color_attr, Category::counting,   Category::color_attr,
      Category::color_attr, Category::color_attr, Category::color_attr, Category::colors};
  for (;;) {
    const auto description =
        random_description(categories[static_cast<std::size_t>(random.below(8))], random);
    if (auto scene = random_scene(description, random); !held_out(scene)) return scene;
  }
}

}  // namespace reno::shapes
