// The examination of a reward: does it prefer what is true of a picture to what is nearly true?
#pragma once

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "shapes/train/reward_lessons.hpp"

namespace reno::shapes {

/// Fraction of true captions preferred over minimally changed ones, by category.
struct Preferences {
  std::map<Category, std::pair<int, int>> counts;  ///< right, all

  void add(Category category, bool right) {
    counts[category].first += right ? 1 : 0;
    ++counts[category].second;
  }
  double least() const {
    double least = 1;
    for (const auto& [category, count] : counts) least = std::min(least, 1. * count.first / count.second);
    return least;
  }
  double mean() const {
    double sum = 0;
    for (const auto& [category, count] : counts) sum += 1. * count.first / count.second;
    return sum / static_cast<double>(counts.size());
  }
  /// Whether the reward is good enough to be used.
  bool passed() const { return least() >= .9; }
  std::string words() const {
    std::string text =
        fmt::format("preferred {:.3f} least {:.3f} {} 0.9 (", mean(), least(), passed() ? "passes" : "fails");
    for (const auto& [category, count] : counts)
      text += fmt::format("{}{} {:.2f}", category == counts.begin()->first ? "" : ", ", name(category),
                          1. * count.first / count.second);
    return text + ")";
  }
};

/// `margins(images, truly, nearly)` is by how much a reward prefers the true prompts: (N).
template <class Margins>
Preferences examine(const std::vector<Trial>& trials, Margins&& margins) {
  std::vector<Picture> pictures;
  std::vector<std::string> truly, nearly;
  for (const auto& trial : trials) {
    pictures.push_back(trial.picture);
    truly.push_back(text(trial.truly));
    nearly.push_back(text(trial.nearly));
  }
  const at::Tensor margin = margins(images_of(pictures), truly, nearly);
  Preferences preferences;
  for (std::size_t i = 0; i < trials.size(); ++i)
    preferences.add(category(trials[i].truly), margin[static_cast<std::int64_t>(i)].item<float>() > 0);
  return preferences;
}

}  // namespace reno::shapes
