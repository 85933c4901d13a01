// What the generator is told: how its pictures differ from the teacher's, and, by three heads, what it has
// understood on the way. Without the first head the text is ignored; without the others objects stay grey.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <tuple>

#include "shapes/train/generator.hpp"
#include "shapes/train/lessons.hpp"
#include "shapes/train/prompt_classes.hpp"

namespace reno::shapes {

struct GeneratorLoss {
  at::Tensor picture;     ///< of the full picture
  at::Tensor coarse;      ///< of the picture read off the 8x8 features
  at::Tensor prompt;      ///< cross-entropy of what the prompt says, summed over the questions
  at::Tensor understood;  ///< cross-entropies of shape and colour at the clear objects, before the latents …
  at::Tensor kept;        ///< … and behind them
};

/// |d| + 1.5 d² over pixels, where objects and their surroundings count five times.
inline at::Tensor picture_loss(const at::Tensor& image, const Lesson& lesson) {
  const auto near_objects = at::max_pool2d(lesson.presence, {7, 7}, {1, 1}, {3, 3});
  const auto weight = 1 + 4 * near_objects;
  const auto difference = image - lesson.images;
  return (weight / weight.mean() * (difference.abs() + 1.5 * difference.square())).mean();
}

/// Every end-of-text token must know what the prompt says. hidden (N, length, width).
inline at::Tensor prompt_loss(const GeneratorNetwork& network, const nn::TokenIds& ids,
                              const at::Tensor& hidden, const std::vector<Description>& descriptions) {
  const auto tokens = nn::token_matrix(ids, network.text_encoder.token_embedding.weight.size(0), at::kCPU);
  const auto ends = tokens.eq(network.text_encoder.eos_token_id).nonzero().unbind(1);  // rows, places
  return prompt_cross_entropy(network.prompt_head(hidden.index({ends[0], ends[1]})),
                              PromptClasses(descriptions).labels.index_select(0, ends[0]));
}

/// A head (N, 12, 8, 8) must tell what is at the cells of clear objects.
inline at::Tensor object_loss(const at::Tensor& answers, const Lesson& lesson) {
  if (lesson.cells.numel() == 0) return at::zeros({});
  const auto at_objects = answers.flatten(2).transpose(1, 2).flatten(0, 1).index_select(0, lesson.cells);
  return at::cross_entropy_loss(at_objects.narrow(1, 0, shape_count), lesson.shapes) +
         at::cross_entropy_loss(at_objects.narrow(1, shape_count, color_count), lesson.colors);
}

inline GeneratorLoss generator_loss(const GeneratorNetwork& network, const Lesson& lesson,
                                    const nn::TokenIds& ids, bool full) {
  GeneratorLoss loss;
  const auto prompts = network.read(ids);
  loss.prompt = prompt_loss(network, ids, prompts, lesson.descriptions);
  const auto drawing = network.draw(lesson.noise, prompts, full);
  loss.coarse = picture_loss(network.coarse(drawing), lesson);
  loss.understood = object_loss(network.features_head(drawing.features), lesson);
  loss.kept = object_loss(network.middle_head(drawing.middle), lesson);
  if (full) loss.picture = picture_loss(drawing.image, lesson);
  return loss;
}

/// What is descended: in the first stage the coarse picture, then the full one.
inline at::Tensor total(const GeneratorLoss& loss) {
  const auto objects = loss.understood + loss.kept;
  if (!loss.picture.defined()) return loss.coarse + .05 * loss.prompt + .1 * objects;
  return loss.picture + .25 * loss.coarse + .05 * loss.prompt + .07 * objects;
}

}  // namespace reno::shapes
