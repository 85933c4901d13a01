// How CLIP cuts clean text into words before byte pair encoding: English contractions, runs of letters,
// single digits, runs of anything else that is not white space. In the notation of regular expressions
//     's|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+
#pragma once

#include <cstddef>
#include <string_view>

#include "reno/text/token_matcher.hpp"
#include "reno/text/unicode.hpp"

namespace reno::text {

/// The slow tokenisers match the pattern without regard to case, which makes two odd differences on
/// lower-cased text: the long s counts as s in a contraction, and U+0345, a mark whose capital is a letter,
/// matches nothing and disappears.
enum class WordCase { sensitive, insensitive };

namespace detail {

enum class CharacterClass { space, letter, number, other };

inline CharacterClass character_class(char32_t c, WordCase word_case) {
  if (c < 0x80) {
    if ((c >= U'a' && c <= U'z') || (c >= U'A' && c <= U'Z')) return CharacterClass::letter;
    if (c >= U'0' && c <= U'9') return CharacterClass::number;
    return c == U' ' || (c >= 0x09 && c <= 0x0D) ? CharacterClass::space : CharacterClass::other;
  }
  if (is_letter(c)) return CharacterClass::letter;
  if (is_number(c)) return CharacterClass::number;
  if (is_white_space(c) || (c == U'\u0345' && word_case == WordCase::insensitive))
    return CharacterClass::space;
  return CharacterClass::other;
}

/// Length of the contraction that `text` starts with, or 0.
inline std::size_t contraction_length(std::u32string_view text, WordCase word_case) {
  if (text.size() < 2 || text[0] != U'\'') return 0;
  const char32_t second = text[1] == U'ſ' && word_case == WordCase::insensitive ? U's' : text[1];
  if (second == U's' || second == U't') return 2;
  const std::u32string_view two = text.substr(1, 2);
  if (two == U"re" || two == U"ve") return 3;
  if (second == U'm') return 2;
  if (two == U"ll") return 3;
  return second == U'd' ? 2 : 0;
}

inline std::size_t word_length(std::u32string_view text, WordCase word_case) {
  if (const std::size_t contraction = contraction_length(text, word_case)) return contraction;
  const CharacterClass first = character_class(text[0], word_case);
  if (first == CharacterClass::number) return 1;
  std::size_t length = 1;
  while (length < text.size() && character_class(text[length], word_case) == first) ++length;
  return length;
}

}  // namespace detail

/// Calls `on_word(word)` and, for the tokens of `specials`, `on_token(id)`, in order. A special token is only
/// seen where a word may begin, so not inside a run of other symbols.
template <typename OnWord, typename OnToken>
void for_each_word(std::u32string_view text, const TokenMatcher& specials, WordCase word_case, OnWord on_word,
                   OnToken on_token) {
  while (!text.empty()) {
    const TokenMatcher::Match special = specials.match(text);
    std::size_t length = special.length;
    if (length > 0) {
      on_token(special.id);
    } else if (detail::character_class(text[0], word_case) == detail::CharacterClass::space) {
      length = 1;
    } else {
      length = detail::word_length(text, word_case);
      on_word(text.substr(0, length));
    }
    text.remove_prefix(length);
  }
}

}  // namespace reno::text
