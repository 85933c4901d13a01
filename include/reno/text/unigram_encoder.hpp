// Cuts text into the pieces of a unigram model (Kudo 2018), id for id as the SentencePiece library does: the
// text is normalised, and of all ways to cut it the one with the largest sum of scores is taken (Viterbi
// 1967). The library itself is not linked: it follows a file's tables unchecked, and it and LibTorch export a
// variable of the same name, FLAGS_minloglevel, and whichever is loaded second writes over the other's
// memory.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "reno/text/sentencepiece_model.hpp"

namespace reno::text {

/// Immutable; `encode` may be called from several threads.
class UnigramEncoder {
 public:
  explicit UnigramEncoder(SentencePieceModel model) : model_(std::move(model)) {
    for (std::size_t id = 0; id < model_.pieces.size(); ++id) {
      const auto& [text, score, type] = model_.pieces[id];
      if (type == PieceType::normal) {
        lowest_score_ = std::min(lowest_score_, score);
        highest_score_ = std::max(highest_score_, score);
      }
      if (type != PieceType::unknown && type != PieceType::control) sorted_.push_back(id);
    }
    std::ranges::sort(sorted_, {}, [&](std::size_t id) { return std::string_view(model_.pieces[id].text); });
  }

  const std::vector<SentencePiece>& pieces() const { return model_.pieces; }
  std::int64_t unknown_id() const { return model_.unknown_id; }

  /// `text` is UTF-8.
  std::vector<std::int64_t> encode(std::string_view text) const { return best_path(normalized(text)); }

 private:
  static constexpr std::string_view space_symbol = "\u2581";
  static constexpr float unknown_penalty = 10.0F;

  static std::size_t character_size(char lead) {
    const auto byte = static_cast<unsigned char>(lead);
    return byte < 0xC0 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
  }

  /// Calls `visit(id, length)` for each piece that `text` begins with, from the shortest to the longest: the
  /// sorted pieces that agree so far are narrowed down byte by byte.
  template <class Visit>
  void for_each_prefix(std::string_view text, Visit visit) const {
    auto first = sorted_.begin();
    auto last = sorted_.end();
    for (std::size_t i = 0; i < text.size() && first != last; ++i) {
      const auto byte_at = [&](std::size_t id) {
        return static_cast<unsigned char>(model_.pieces[id].text[i]);
      };
      const auto range =
          std::ranges::equal_range(first, last, static_cast<unsigned char>(text[i]), {}, byte_at);
      first = range.begin();
      last = range.end();
      if (first != last && model_.pieces[*first].text.size() == i + 1) visit(*first++, i + 1);
    }
  }

  /// What the beginning of `text` becomes, and how many bytes it has. Pieces that users defined stay as they
  /// are.
  SentencePieceCharsmap::Match normalized_prefix(std::string_view text) const {
    std::size_t own = 0;
    for_each_prefix(text, [&](std::size_t id, std::size_t length) {
      if (model_.pieces[id].type == PieceType::user_defined) own = length;
    });
    if (own > 0) return {own, text.substr(0, own)};
    const auto match = model_.charsmap.longest_match(text);
    if (match.length > 0) return match;
    const std::size_t size = std::min(character_size(text.front()), text.size());
    return {size, text.substr(0, size)};
  }

  std::string normalized(std::string_view text) const {
    const std::string_view space = model_.escape_whitespaces ? space_symbol : " ";
    std::string result;
    bool after_space = model_.remove_extra_whitespaces;
    bool started = !model_.remove_extra_whitespaces && !text.empty();
    if (started && model_.add_dummy_prefix) result += space;
    while (!text.empty()) {
      auto [length, part] = normalized_prefix(text);
      text.remove_prefix(length);
      if (!started && part == " ") continue;  // also a rule whose result is a space alone
      if (!started && model_.add_dummy_prefix) result += space;
      started = true;
      while (after_space && part.starts_with(' ')) part.remove_prefix(1);
      if (part.empty()) continue;
      for (const char c : part) c == ' ' ? result += space : result += c;
      after_space = model_.remove_extra_whitespaces && part.ends_with(' ');
    }
    if (model_.remove_extra_whitespaces)
      while (result.ends_with(space)) result.resize(result.size() - space.size());
    return result;
  }

  /// The best way to cut everything before one place of the text.
  struct Node {
    std::int64_t id = -1;
    float score = 0;
    std::size_t start = unreached;  ///< of the last piece
    static constexpr std::size_t unreached = std::numeric_limits<std::size_t>::max();
  };

  std::vector<std::int64_t> best_path(std::string_view text) const {
    std::vector<Node> nodes(text.size() + 1);
    for (std::size_t start = 0; start < text.size();) {
      const std::size_t character = std::min(character_size(text[start]), text.size() - start);
      bool has_character = false;
      const auto offer = [&](std::int64_t id, std::size_t length, float score) {
        Node& node = nodes[start + length];
        const float total = score + nodes[start].score;
        if (node.start == Node::unreached || total > node.score) node = {id, total, start};
      };
      for_each_prefix(text.substr(start), [&](std::size_t id, std::size_t length) {
        const auto& piece = model_.pieces[id];
        if (piece.type == PieceType::unused) return;
        // What users defined is always taken.
        const float score = piece.type == PieceType::user_defined
                                ? static_cast<float>(length) * highest_score_ - 0.1F
                                : piece.score;
        offer(static_cast<std::int64_t>(id), length, score);
        has_character = has_character || length == character;
      });
      if (!has_character) offer(model_.unknown_id, character, lowest_score_ - unknown_penalty);
      start += character;
    }
    return ids_along(nodes);
  }

  /// Neighbouring unknown pieces become one.
  std::vector<std::int64_t> ids_along(const std::vector<Node>& nodes) const {
    std::vector<std::int64_t> ids;
    for (std::size_t end = nodes.size() - 1; end > 0; end = nodes[end].start) {
      const std::int64_t id = nodes[end].id;
      if (ids.empty() || id != model_.unknown_id || ids.back() != id) ids.push_back(id);
    }
    std::ranges::reverse(ids);
    return ids;
  }

  SentencePieceModel model_;
  std::vector<std::size_t> sorted_;  ///< ids of the pieces that text is cut into, by their bytes
  float lowest_score_ = std::numeric_limits<float>::max();
  float highest_score_ = std::numeric_limits<float>::min();  // a tiny positive number, as in the library
};

}  // namespace reno::text
