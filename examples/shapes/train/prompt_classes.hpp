// What a prompt says, as classes, and how well a head has understood it. Every text encoder of this world is
// asked: from pictures alone it does not learn that "left of" and "right of" differ, for neither means
// anything without the order of the things.
#pragma once

#include <ATen/ATen.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "shapes/world/description.hpp"

namespace reno::shapes {

/// What a prompt says, as classes; the one behind the last stands for "nothing".
struct PromptClasses {
  static constexpr std::array<std::int64_t, 6> sizes = {shape_count,     color_count + 1,    shape_count + 1,
                                                        color_count + 1, relation_count + 1, most_of_a_kind};
  at::Tensor labels;  ///< (N, 6) int64

  static constexpr std::int64_t count() {
    std::int64_t count = 0;
    for (const auto size : sizes) count += size;
    return count;
  }

  explicit PromptClasses(const std::vector<Description>& descriptions) {
    std::vector<std::int64_t> values;
    for (const auto& description : descriptions) {
      const Thing &first = description.things.front(), &second = description.things.back();
      const bool one = description.things.size() == 1;
      for (const int value :
           {first.shape, first.color.value_or(color_count), one ? shape_count : second.shape,
            one ? color_count : second.color.value_or(color_count),
            description.relation.value_or(relation_count), first.count - 1})
        values.push_back(value);
    }
    labels = at::tensor(values, at::kLong).view({-1, static_cast<std::int64_t>(sizes.size())});
  }
};

/// Cross-entropy of answers (N, PromptClasses::count()) to labels (N, 6): means over N, summed over the
/// questions.
inline at::Tensor prompt_cross_entropy(const at::Tensor& answers, const at::Tensor& labels) {
  at::Tensor loss = at::zeros({});
  std::int64_t question = 0;
  for (const auto& classes : answers.split_with_sizes(PromptClasses::sizes, 1))
    loss = loss + at::cross_entropy_loss(classes, labels.select(1, question++));
  return loss;
}

}  // namespace reno::shapes
