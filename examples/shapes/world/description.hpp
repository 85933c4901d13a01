// What a prompt of this world says, as data: one kind of thing, so many of it; or two things, perhaps with a
// relation between them. Descriptions become text by templates and are read back from it.
#pragma once

#include <algorithm>
#include <array>
#include <cctype>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shapes/world/random.hpp"
#include "shapes/world/vocabulary.hpp"

namespace reno::shapes {

struct Thing {
  int shape = 0;
  std::optional<int> color = {};
  int count = 1;  ///< 1 to 4; more than 1 only where it is the only thing

  bool operator==(const Thing&) const = default;
};

struct Description {
  std::vector<Thing> things;         ///< one or two
  std::optional<int> relation = {};  ///< of the first thing to the second

  bool operator==(const Description&) const = default;

  /// Objects of a picture that shows this and nothing else.
  int objects() const { return things.size() == 2 ? 2 : things.front().count; }
};

/// GenEval's categories (Ghosh et al. 2023), and one for colours and position together.
enum class Category {
  single_object,
  colors,
  two_object,
  counting,
  position,
  color_attr,
  position_attr,
};

inline constexpr std::array<std::string_view, 7> category_names = {
    "single_object", "colors", "two_object", "counting", "position", "color_attr", "position_attr"};

inline constexpr std::string_view name(Category category) {
  return category_names[static_cast<std::size_t>(category)];
}

inline Category category(const Description& description) {
  const bool colored = description.things.front().color.has_value();
  if (description.things.size() == 1) {
    if (description.things.front().count > 1) return Category::counting;
    return colored ? Category::colors : Category::single_object;
  }
  if (description.relation) return colored ? Category::position_attr : Category::position;
  return colored ? Category::color_attr : Category::two_object;
}

/// Which of the equivalent templates a prompt uses.
struct Phrasing {
  bool photo = false;   ///< "a photo of …"
  bool to_the = false;  ///< "to the left of" instead of "left of"
};

inline std::string text(const Thing& thing) {
  const std::string_view color = thing.color ? color_names[*thing.color] : "";
  std::string words = thing.count > 1     ? std::string(number_names[thing.count])
                      : color == "orange" ? "an"
                                          : "a";
  if (thing.color) words.append(" ").append(color);
  const std::string_view shape = shape_names[thing.shape];
  words.append(" ").append(shape);
  if (thing.count > 1) words.append(shape == "cross" ? "es" : "s");
  return words;
}

/// "a photo of a red circle to the left of a blue square".
inline std::string text(const Description& description, Phrasing phrasing = {}) {
  std::string words = phrasing.photo ? "a photo of " : "";
  words += text(description.things.front());
  if (description.things.size() == 1) return words;
  const bool sideways = description.relation && *description.relation < 2;
  words += !description.relation ? " and " : phrasing.to_the && sideways ? " to the " : " ";
  if (description.relation) words.append(relation_names[*description.relation]).append(" ");
  return words + text(description.things.back());
}

/// All the words that `text` can make, for a vocabulary; sorted.
inline std::vector<std::string> all_words() {
  std::vector<std::string> words = {"a",   "an",   "photo", "of",    "and",  "to",
                                    "the", "left", "right", "above", "below"};
  for (const auto& color : color_names) words.emplace_back(color);
  for (int shape = 0; shape < shape_count; ++shape) {
    words.emplace_back(shape_names[shape]);
    const auto many = text(Thing{shape, {}, 2});
    words.push_back(many.substr(many.find(' ') + 1));
  }
  for (int count = 2; count <= most_of_a_kind; ++count) words.emplace_back(number_names[count]);
  std::sort(words.begin(), words.end());
  return words;
}

namespace detail {

/// Reads words one after the other; everything returns whether it was there, and if not, takes nothing.
class PromptWords {
 public:
  explicit PromptWords(std::string_view prompt) {
    std::string word;
    for (const char letter : prompt) {
      const auto code = static_cast<unsigned char>(letter);
      if (std::isspace(code) != 0 || letter == ',' || letter == '.') {
        if (!word.empty()) words_.push_back(std::exchange(word, {}));
      } else {
        word += static_cast<char>(std::tolower(code));
      }
    }
    if (!word.empty()) words_.push_back(word);
  }

  bool done() const { return next_ == words_.size(); }

  bool take(std::string_view phrase) {
    std::size_t at = next_;
    while (!phrase.empty()) {
      const auto end = std::min(phrase.find(' '), phrase.size());
      if (at == words_.size() || words_[at++] != phrase.substr(0, end)) return false;
      phrase.remove_prefix(std::min(end + 1, phrase.size()));
    }
    next_ = at;
    return true;
  }

  template <std::size_t N>
  std::optional<int> take_one_of(const std::array<std::string_view, N>& names) {
    for (const auto& name : names)
      if (!name.empty() && take(name)) return index_of(names, name);
    return std::nullopt;
  }

  std::optional<Thing> take_thing() {
    Thing thing;
    if (const auto number = take_one_of(number_names))
      thing.count = *number;
    else if (!take("a") && !take("an"))
      return std::nullopt;
    thing.color = take_one_of(color_names);
    for (thing.shape = 0; thing.shape < shape_count; ++thing.shape) {
      const std::string one(shape_names[thing.shape]);
      if (thing.count == 1 ? take(one) : take(one + "s") || take(one + "es")) return thing;
    }
    return std::nullopt;
  }

 private:
  std::vector<std::string> words_;
  std::size_t next_ = 0;
};

}  // namespace detail

/// The description that a prompt states, in any template; nothing for text that is not of this world.
inline std::optional<Description> parse(std::string_view prompt) {
  detail::PromptWords words(prompt);
  words.take("a photo of");
  const auto first = words.take_thing();
  if (!first) return std::nullopt;
  Description description{{*first}};
  if (words.done()) return description;
  if (!words.take("and")) {
    const bool to_the = words.take("to the");
    description.relation = words.take_one_of(relation_names);
    if (!description.relation || (to_the && *description.relation >= 2)) return std::nullopt;
  }
  const auto second = words.take_thing();
  if (!second || !words.done() || first->count > 1 || second->count > 1) return std::nullopt;
  description.things.push_back(*second);
  return description;
}

/// Whether these two coloured objects are never seen together in training: a tenth of all pairs, chosen by a
/// hash.
inline bool held_out(int shape_a, int color_a, int shape_b, int color_b) {
  const int a = shape_a * color_count + color_a, b = shape_b * color_count + color_b;
  return (std::min(a, b) * 37 + std::max(a, b) * 11) % 10 == 3;
}

inline bool held_out(const Description& description) {
  if (description.things.size() != 2) return false;
  const auto &a = description.things.front(), &b = description.things.back();
  return a.color && b.color && held_out(a.shape, *a.color, b.shape, *b.color);
}

/// A random description of one category. Two things differ in what the prompt says of them.
inline Description random_description(Category category, Random& random) {
  const auto thing = [&] { return Thing{random.below(shape_count), random.below(color_count)}; };
  Description description{{thing()}};
  Thing& first = description.things.front();
  if (category == Category::single_object || category == Category::colors || category == Category::counting) {
    if (category == Category::counting) first.count = 2 + random.below(most_of_a_kind - 1);
    const bool colored =
        category == Category::colors || (category == Category::counting && random.chance(.5));
    if (!colored) first.color.reset();
    return description;
  }
  const bool colored = category == Category::color_attr || category == Category::position_attr;
  Thing second = thing();
  while (second.shape == first.shape && (!colored || second.color == first.color)) second = thing();
  if (category == Category::position || category == Category::position_attr)
    description.relation = random.below(relation_count);
  if (!colored) first.color = second.color = std::nullopt;
  description.things.push_back(second);
  return description;
}

/// `per_category` prompts of each category, all of pairs that training never shows.
inline std::vector<Description> held_out_descriptions(int per_category, std::uint64_t seed) {
  Random random(seed);
  std::vector<Description> descriptions;
  for (std::size_t c = 0; c < category_names.size(); ++c) {
    const auto category = static_cast<Category>(c);
    const bool pairs = category == Category::color_attr || category == Category::position_attr;
    for (int i = 0; i < per_category;) {
      auto description = random_description(category, random);
      if (pairs && !held_out(description)) continue;
      descriptions.push_back(std::move(description));
      ++i;
    }
  }
  return descriptions;
}

}  // namespace reno::shapes
