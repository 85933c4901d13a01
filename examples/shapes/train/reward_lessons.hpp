// What the rewards are shown: groups of similar pictures and similar captions, and how true each caption is
// of each picture.
#pragma once

#include <ATen/ATen.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "shapes/train/captions.hpp"
#include "shapes/train/pictures.hpp"

namespace reno::shapes {

struct RewardLesson {
  std::vector<Picture> pictures;
  std::vector<int> picture_groups;
  std::vector<Description> captions;
  std::vector<int> caption_groups;
  std::vector<std::size_t> originals;  ///< for each caption the one it was altered from, or itself
  std::vector<std::string> prompts;    ///< the captions in words
  at::Tensor images;                   ///< (N, 3, 64, 64) in [0, 1]
  at::Tensor truths;                   ///< (N, M) in [0, 1]
  at::Tensor qualities;                ///< (N)
};

namespace detail {

/// Now and then a prompt has words around it that must not matter.
inline std::string with_stray_words(std::string prompt, Random& random) {
  static constexpr std::array<const char*, 8> words = {"picture", "image",      "in",   "with",
                                                       "shape",   "background", "next", "xq"};
  if (!random.chance(.06)) return prompt;
  for (int i = 1 + random.below(3); i > 0; --i) {
    const std::string word = words[static_cast<std::size_t>(random.below(8))];
    prompt = random.chance(.5) ? word + " " + prompt : prompt + " " + word;
  }
  return prompt;
}

inline void add_caption(RewardLesson& lesson, const Description& caption, std::size_t original, int group,
                        Random& random) {
  lesson.prompts.push_back(with_stray_words(random_text(caption, random), random));
  lesson.captions.push_back(caption);
  lesson.caption_groups.push_back(group);
  lesson.originals.push_back(original);
}

inline void add_picture(RewardLesson& lesson, Picture picture, bool spoil_often, int group, Random& random) {
  spoil(picture, spoil_often, random);
  lesson.pictures.push_back(std::move(picture));
  lesson.picture_groups.push_back(group);
}

/// A caption and lies that differ from it in one thing each.
inline void add_captions(RewardLesson& lesson, const Description& caption, int lies, int group,
                         Random& random) {
  const std::size_t original = lesson.captions.size();
  add_caption(lesson, caption, original, group, random);
  for (int i = 0; i < lies; ++i) add_caption(lesson, altered(caption, random), original, group, random);
}

/// A scene and an altered one, as they are and with defects; their captions and altered ones.
inline void add_scenes(RewardLesson& lesson, int group, Random& random) {
  const Scene scene = training_scene(random);
  Scene other = altered(scene, random);
  while (held_out(other)) other = altered(scene, random);
  for (const auto& each : {scene, other}) {
    add_picture(lesson, picture_of(each, false, random), false, group, random);
    add_captions(lesson, describe(each, random), 3, group, random);
  }
  for (Scene doubtful : {scene, random.chance(.5) ? scene : other}) {
    doubtful.background = random_background(random);
    add_picture(lesson, picture_of(doubtful, true, random), true, group, random);
  }
}

/// Three of the teacher's pictures of a prompt.
inline void add_taught(RewardLesson& lesson, int group, Random& random) {
  const auto caption = training_description(all_prompts, random);
  for (int i = 0; i < 3; ++i)
    add_picture(lesson, taught_picture(caption, random), random.chance(.4), group, random);
  add_captions(lesson, caption, 2, group, random);
}

}  // namespace detail

inline at::Tensor images_of(const std::vector<Picture>& pictures) {
  std::vector<at::Tensor> images;
  for (const auto& picture : pictures) images.push_back(picture.image);
  return at::stack(images);
}

/// `groups` of four pictures and eight captions each, and `taught` of three and three.
inline RewardLesson reward_lesson(int groups, int taught, Random& random) {
  RewardLesson lesson;
  for (int group = 0; group < groups; ++group) detail::add_scenes(lesson, group, random);
  for (int group = groups; group < groups + taught; ++group) detail::add_taught(lesson, group, random);
  lesson.images = images_of(lesson.pictures);
  std::vector<float> truths, qualities;
  for (const auto& picture : lesson.pictures) {
    qualities.push_back(picture.quality);
    for (const auto& caption : lesson.captions) truths.push_back(truth(picture.sights, caption));
  }
  lesson.truths = at::tensor(truths).view({-1, static_cast<std::int64_t>(lesson.captions.size())});
  lesson.qualities = at::tensor(qualities);
  return lesson;
}

/// Pairs of pictures of one group, and a caption of theirs.
struct Comparisons {
  at::Tensor captions, first, second;  ///< indices

  explicit Comparisons(const RewardLesson& lesson) {
    std::vector<std::int64_t> caption, one, other;
    const auto& groups = lesson.picture_groups;
    for (std::size_t c = 0; c < lesson.captions.size(); ++c)
      for (std::size_t i = 0; i < groups.size(); ++i)
        for (std::size_t j = i + 1; j < groups.size(); ++j) {
          if (groups[i] != lesson.caption_groups[c] || groups[j] != groups[i]) continue;
          caption.push_back(static_cast<std::int64_t>(c));
          one.push_back(static_cast<std::int64_t>(i));
          other.push_back(static_cast<std::int64_t>(j));
        }
    captions = at::tensor(caption, at::kLong);
    first = at::tensor(one, at::kLong);
    second = at::tensor(other, at::kLong);
  }

  /// values (N, M) of pictures for captions -> difference of each pair.
  at::Tensor differences(const at::Tensor& values) const {
    return values.index({first, captions}) - values.index({second, captions});
  }
};

/// A true picture, what it shows, and a description that is nearly that.
struct Trial {
  Picture picture;
  Description truly, nearly;
};

/// The examination: `per_category` trials of held-out prompts.
inline std::vector<Trial> trials(int per_category, std::uint64_t seed) {
  Random random(seed);
  std::vector<Trial> trials;
  for (const auto& description : held_out_descriptions(per_category, seed)) {
    Trial trial{picture_of(random_scene(description, random), false, random), description,
                altered(description, random)};
    while (truth(trial.picture.sights, trial.nearly) >= .7F) trial.nearly = altered(description, random);
    trials.push_back(std::move(trial));
  }
  return trials;
}

}  // namespace reno::shapes
