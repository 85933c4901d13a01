// Pictures for the rewards, with labels: true renders, doubtful ones (faded, mixed, shifted, doubled
// objects), spoilt ones (blur, noise, ghosts, no objects at all), and the teacher's, which look like the
// generator's.
#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "shapes/train/captions.hpp"
#include "shapes/train/lessons.hpp"
#include "shapes/train/sights.hpp"
#include "shapes/world/scene.hpp"

namespace reno::shapes {

struct Picture {
  at::Tensor image;  ///< (3, 64, 64) in [0, 1]
  Sights sights;
  float quality = 1;  ///< crisp and clean, in [0, 1]
};

namespace detail {

/// An object as it is painted, with what may be wrong with it.
struct DoubtfulObject {
  Mark mark;
  int shape = 0, other_shape = 0;
  int color = 0, other_color = 0;
  float shape_mix = 0, color_mix = 0;  ///< share of the other
  bool split = false;                  ///< the colours lie side by side
};

inline DoubtfulObject certain(const Object& object) {
  DoubtfulObject doubtful{mark(object), object.shape, object.shape, object.color, object.color};
  return doubtful;
}

inline void make_doubtful(DoubtfulObject& object, int neighbour_color, Random& random) {
  Mark& mark = object.mark;
  if (random.chance(.18)) mark.opacity *= static_cast<float>(random.uniform());
  if (random.chance(.1)) mark.radius *= 1 - .65F * static_cast<float>(random.uniform());
  if (random.chance(.2)) mark.edge += 8 * static_cast<float>(std::pow(random.uniform(), 2));
  if (random.chance(.28)) {
    object.other_shape = another(object.shape, shape_count, random);
    object.shape_mix = static_cast<float>(random.uniform());
    mark.shape[object.shape] -= object.shape_mix;
    mark.shape[object.other_shape] += object.shape_mix;
  }
  if (random.chance(.22)) {
    const int hue = (object.color + (random.chance(.5) ? 1 : color_count - 1)) % color_count;
    object.other_color = random.chance(.4)   ? neighbour_color
                         : random.chance(.5) ? hue
                                             : random.below(color_count);
    object.color_mix = static_cast<float>(random.uniform());
    object.split = random.chance(.35);
  }
}

/// What an unasked object looks like: often like one that is there.
inline DoubtfulObject ghost(const std::vector<DoubtfulObject>& objects, Random& random) {
  Object object{random.below(shape_count), random.below(color_count)};
  if (random.chance(.6)) {
    object.shape = objects.front().shape;
    object.color = objects.front().color;
  }
  object.rgb = random_rgb(object.color, random);
  object.radius = static_cast<float>(random.uniform(5, 12));
  object.x = static_cast<float>(random.uniform(object.radius, image_size - object.radius));
  object.y = static_cast<float>(random.uniform(object.radius, image_size - object.radius));
  auto doubtful = certain(object);
  doubtful.mark.opacity = random.chance(.5) ? 1 : static_cast<float>(std::sqrt(random.uniform()));
  return doubtful;
}

inline Sight sight_of(const DoubtfulObject& object) {
  const Mark& mark = object.mark;
  Sight sight;
  sight.shape[object.other_shape] = ramp(object.shape_mix, .5F, .4F);
  sight.shape[object.shape] = 1 - ramp(object.shape_mix, .08F, .55F);
  sight.color[object.other_color] = ramp(object.color_mix, .55F, .4F);
  sight.color[object.color] = object.other_color == object.color ? 1 : 1 - ramp(object.color_mix, .08F, .5F);
  sight.presence =
      ramp(mark.opacity, .2F, .6F) * ramp(mark.radius, 3, 2.5F) * (1 - .5F * ramp(mark.edge, 4, 8));
  sight.x = mark.x;
  sight.y = mark.y;
  sight.radius = mark.radius;
  return sight;
}

inline void paint_doubtful(Canvas& canvas, const DoubtfulObject& object, Random& random) {
  const Rgb own = object.mark.rgb, other = palette[object.other_color];
  const auto angle = random.uniform(0, 6.2831853);
  const auto across = static_cast<float>(std::cos(angle)), down = static_cast<float>(std::sin(angle));
  canvas.paint(object.mark, [&](float dx, float dy) {
    float share = object.color_mix;
    if (object.split && share > 0)
      share = 1 - logistic((dx * across + dy * down) / object.mark.radius * 4 - (share - .5F) * 6.4F);
    Rgb rgb;
    for (std::size_t c = 0; c < 3; ++c) rgb[c] = own[c] + share * (other[c] - own[c]);
    return rgb;
  });
}

}  // namespace detail

/// Paints a scene, true or with doubtful objects.
inline Picture picture_of(const Scene& scene, bool doubtful, Random& random) {
  std::vector<detail::DoubtfulObject> objects;
  for (const auto& object : scene.objects) objects.push_back(detail::certain(object));
  if (doubtful) {
    for (std::size_t i = 0; i < objects.size(); ++i)
      detail::make_doubtful(objects[i], scene.objects[(i + 1) % objects.size()].color, random);
    if (objects.size() > 1 && random.chance(.25))
      for (float* place : {&objects[1].mark.x, &objects[1].mark.y})
        *place = std::clamp(*place + static_cast<float>(random.uniform(-18, 18)), 9.F, 55.F);
    if (random.chance(.35)) objects.push_back(detail::ghost(objects, random));
  }
  Picture picture{at::empty({3, image_size, image_size}, at::kFloat), {}};
  Canvas canvas(picture.image);
  canvas.fill(scene.background);
  for (auto object = objects.rbegin(); object != objects.rend(); ++object)
    detail::paint_doubtful(canvas, *object, random);
  canvas.clamp();
  float edge = 0, faint = 0;
  for (const auto& object : objects) {
    picture.sights.push_back(detail::sight_of(object));
    edge = std::max(edge, detail::ramp(object.mark.edge, 1.2F, 6));
    faint = std::max(faint, object.mark.opacity > .05F && object.mark.opacity < .8F ? 1.F : 0.F);
  }
  picture.quality = 1 - .35F * edge - .3F * faint;
  hide_covered(picture.sights);
  return picture;
}

/// The teacher's picture for a prompt; what is in it by how it was painted.
inline Picture taught_picture(const Description& wanted, Random& random) {
  const auto noise = random_noise(1, random);
  const auto scene = teach({noise.const_data_ptr<float>(), noise_numel}, wanted);
  Picture picture{at::empty({3, image_size, image_size}, at::kFloat), {}};
  paint(scene, picture.image);
  for (const auto& object : scene.objects) {
    const Mark& mark = object.mark;
    Sight sight{{}, {}, detail::ramp(mark.opacity, .2F, .6F), mark.x, mark.y, mark.radius};
    for (std::size_t s = 0; s < shape_count; ++s) sight.shape[s] = detail::ramp(mark.shape[s], .4F, .5F);
    for (std::size_t c = 0; c < color_count; ++c) {
      float square = 0;
      for (std::size_t k = 0; k < 3; ++k) square += std::pow(mark.rgb[k] - palette[c][k], 2.F);
      sight.color[c] = 1 - detail::ramp(std::sqrt(square), .06F, .28F);
    }
    if (mark.opacity < .8F) picture.quality = .7F;
    picture.sights.push_back(sight);
  }
  hide_covered(picture.sights);
  return picture;
}

namespace detail {

inline at::Tensor blurred(const at::Tensor& image, std::int64_t size) {
  const auto border = size / 2;
  return at::avg_pool2d(at::replication_pad2d(image.unsqueeze(0), {border, border, border, border}),
                        {size, size}, {1, 1})
      .squeeze(0);
}

inline at::Tensor normal_field(std::int64_t size, Random& random) {
  auto field = at::empty({1, 3, size, size}, at::kFloat);
  float* values = field.mutable_data_ptr<float>();
  for (std::int64_t i = 0; i < field.numel(); ++i) values[i] = static_cast<float>(random.normal());
  if (size == image_size) return field.squeeze(0);
  return at::upsample_bicubic2d(field, {image_size, image_size}, false).squeeze(0);
}

}  // namespace detail

/// Spoils a picture as generators do; its labels follow. `often`: most pictures.
inline void spoil(Picture& picture, bool often, Random& random) {
  auto& image = picture.image;
  const auto happens = [&](double seldom, double commonly) {
    return random.chance(often ? commonly : seldom);
  };
  const auto some = [&](double most) { return random.uniform(0, most); };
  if (happens(.1, .15)) {
    image = detail::blurred(image, 3);
    picture.quality -= .12F;
  }
  if (happens(.04, .12)) {
    image = detail::blurred(detail::blurred(image, 3), 5);
    picture.quality -= .3F;
    for (auto& sight : picture.sights) sight.presence *= .85F;
  }
  if (happens(.2, .3)) {
    const double amount = some(.06);
    image = image + amount * detail::normal_field(image_size, random);
    picture.quality -= static_cast<float>(4 * amount);
  }
  if (happens(.2, .3)) {
    const double amount = some(.08);
    image = image + amount * detail::normal_field(8, random);
    picture.quality -= static_cast<float>(2.4 * amount);
  }
  if (happens(.3, .3)) image = (image - .5) * random.uniform(.85, 1.15) + random.uniform(.46, .54);
  if (happens(.03, .1)) {
    const double amount = some(.6);
    image = image + amount * (image.mean(0, true) - image);
    picture.quality -= static_cast<float>(.4 * amount);
    for (auto& sight : picture.sights)
      for (auto& color : sight.color) color *= 1 - .7F * static_cast<float>(amount);
  }
  if (happens(0, .06)) {  // colours without objects
    image = detail::normal_field(4 + 4 * random.below(3), random) * .4 + .5;
    picture.sights.clear();
    picture.quality = 0;
  }
  image = image.clamp(0, 1);
  picture.quality = std::clamp(picture.quality, 0.F, 1.F);
}

}  // namespace reno::shapes
