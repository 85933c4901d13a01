// Dense supervision: what every patch and the whole of a picture should know, as tensors. The heads that
// answer are dropped when the reward is written.
#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "shapes/train/pictures.hpp"

namespace reno::shapes {

inline constexpr std::int64_t patches_per_side = 8, patches = patches_per_side * patches_per_side;
/// Answers of a patch: none or a shape, none or a colour, the way to the object's centre.
inline constexpr std::int64_t patch_answers = (shape_count + 1) + (color_count + 1) + 2;
/// Answers of a picture: shape with colour, shapes with relation, colours with relation, number, quality.
inline constexpr std::int64_t pair_answers = shape_count * color_count;
inline constexpr std::int64_t shape_relation_answers = shape_count * shape_count * relation_count;
inline constexpr std::int64_t color_relation_answers = color_count * color_count * relation_count;
inline constexpr std::int64_t picture_answers =
    pair_answers + shape_relation_answers + color_relation_answers + 2;

struct DenseTargets {
  at::Tensor shapes;   ///< (N, 64, 5), sum 1
  at::Tensor colors;   ///< (N, 64, 9), sum 1
  at::Tensor offsets;  ///< (N, 64, 2)
  at::Tensor covered;  ///< (N, 64), 1 where there is an object
  at::Tensor picture;  ///< (N, picture_answers)

  explicit DenseTargets(const std::vector<Picture>& pictures)
      : shapes(at::zeros({count(pictures), patches, shape_count + 1})),
        colors(at::zeros({count(pictures), patches, color_count + 1})),
        offsets(at::zeros({count(pictures), patches, 2})),
        covered(at::zeros({count(pictures), patches})),
        picture(at::zeros({count(pictures), picture_answers})) {
    for (std::size_t i = 0; i < pictures.size(); ++i) {
      const auto n = static_cast<std::int64_t>(i);
      for (std::int64_t patch = 0; patch < patches; ++patch) fill_patch(pictures[i].sights, n, patch);
      fill_picture(pictures[i], picture.mutable_data_ptr<float>() + n * picture_answers);
    }
  }

 private:
  static std::int64_t count(const std::vector<Picture>& pictures) {
    return static_cast<std::int64_t>(pictures.size());
  }

  static float* row(const at::Tensor& tensor, std::int64_t n, std::int64_t patch) {
    return tensor.mutable_data_ptr<float>() +
           (n * patches + patch) * (tensor.dim() == 3 ? tensor.size(2) : 1);
  }

  /// The uppermost object whose square, and a little around it, holds the patch's centre.
  void fill_patch(const Sights& sights, std::int64_t n, std::int64_t patch) {
    constexpr float side = static_cast<float>(image_size) / patches_per_side;
    const float x = (static_cast<float>(patch % patches_per_side) + .5F) * side,
                y = (static_cast<float>(patch / patches_per_side) + .5F) * side;
    const auto top = std::find_if(sights.begin(), sights.end(), [&](const Sight& sight) {
      return sight.presence > 0 &&
             std::max(std::abs(sight.x - x), std::abs(sight.y - y)) < sight.radius + 1.5F;
    });
    float* shape = row(shapes, n, patch);
    float* color = row(colors, n, patch);
    shape[0] = color[0] = 1;
    if (top == sights.end()) return;
    distribute(top->shape, top->presence, shape);
    distribute(top->color, top->presence, color);
    float* offset = row(offsets, n, patch);
    offset[0] = (top->x - x) / 16;
    offset[1] = (top->y - y) / 16;
    *row(covered, n, patch) = 1;
  }

  template <std::size_t N>
  static void distribute(const std::array<float, N>& degrees, float presence, float* target) {
    float sum = 0;
    for (std::size_t k = 0; k < N; ++k) sum += target[k + 1] = presence * degrees[k];
    target[0] = std::clamp(1 - sum, 0.F, 1.F);
    sum += target[0];
    for (std::size_t k = 0; k <= N; ++k) target[k] /= sum;
  }

  static void fill_picture(const Picture& picture, float* answers) {
    const auto& sights = picture.sights;
    float present = 0;
    for (const auto& sight : sights) {
      present += sight.presence;
      for (int s = 0; s < shape_count; ++s)
        for (int c = 0; c < color_count; ++c)
          raise(answers[s * color_count + c], sight.presence * sight.shape[s] * sight.color[c]);
    }
    for (std::size_t i = 0; i < sights.size(); ++i)
      for (std::size_t j = 0; j < sights.size(); ++j)
        if (i != j) fill_relations(sights[i], sights[j], answers + pair_answers);
    answers[picture_answers - 2] = std::min(present / 4, 1.F);
    answers[picture_answers - 1] = picture.quality;
  }

  static void fill_relations(const Sight& a, const Sight& b, float* answers) {
    for (int r = 0; r < relation_count; ++r) {
      const float degree = related(r, a, b) * std::min(a.presence, b.presence);
      if (degree == 0) continue;
      for (int s = 0; s < shape_count; ++s)
        for (int t = 0; t < shape_count; ++t)
          raise(answers[(s * shape_count + t) * relation_count + r], degree * a.shape[s] * b.shape[t]);
      for (int c = 0; c < color_count; ++c)
        for (int d = 0; d < color_count; ++d)
          raise(answers[shape_relation_answers + (c * color_count + d) * relation_count + r],
                degree * a.color[c] * b.color[d]);
    }
  }

  static void raise(float& value, float to) { value = std::max(value, to); }
};

/// patch (N, 64, patch_answers) and picture (N, picture_answers): what the heads answer.
inline at::Tensor dense_loss(const at::Tensor& patch, const at::Tensor& picture,
                             const DenseTargets& targets) {
  const auto parts = patch.split_with_sizes({shape_count + 1, color_count + 1, 2}, -1);
  const auto weight = (.35 + targets.covered) / (.35 + targets.covered).mean();
  const auto cross_entropy = [](const at::Tensor& answers, const at::Tensor& wanted) {
    return -(wanted * at::log_softmax(answers, -1)).sum(-1);
  };
  const auto what =
      (weight * (cross_entropy(parts[0], targets.shapes) + cross_entropy(parts[1], targets.colors))).mean();
  const auto where = ((parts[2] - targets.offsets).square().sum(-1) * targets.covered).mean();
  const auto each = at::binary_cross_entropy_with_logits(picture.narrow(1, 0, picture_answers - 1),
                                                         targets.picture.narrow(1, 0, picture_answers - 1),
                                                         {}, {}, at::Reduction::None);
  const auto sums =
      each.split_with_sizes({pair_answers, shape_relation_answers, color_relation_answers, 1}, 1);
  const auto whole =
      (.5 * sums[0].sum(1) + .25 * sums[1].sum(1) + .12 * sums[2].sum(1) + sums[3].sum(1)).mean();
  const auto quality =
      (picture.select(1, picture_answers - 1).sigmoid() - targets.picture.select(1, picture_answers - 1))
          .square()
          .mean();
  return what + 2 * where + .3 * whole + quality;
}

}  // namespace reno::shapes
