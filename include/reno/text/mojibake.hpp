// Finds text that was decoded with the wrong code page, by the heuristic of ftfy 6: runs of characters that
// proper text hardly ever has, and runs that look exactly like UTF-8 read as a Latin-like code page.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "reno/text/mojibake_categories.hpp"
#include "reno/text/single_byte_encodings.hpp"

namespace reno::text::mojibake {

/// One place of a rule: a character of these categories or one of these characters.
struct Place {
  Categories categories = 0;
  std::u32string_view characters = {};

  constexpr bool empty() const { return categories == 0 && characters.empty(); }
  bool accepts(char32_t c, Categories of_c) const {
    return (of_c & categories) != 0 ||
           (!characters.empty() && characters.find(c) != std::u32string_view::npos);
  }
};

/// A run of characters that gives mojibake away.
struct Rule {
  Place places[7] = {};
  bool at_start = false;
};

inline constexpr Categories accented = lower_accented | upper_accented;
inline constexpr Categories punctuation = start_punctuation | end_punctuation;
inline constexpr Categories ascii_letter = ascii_lower | ascii_upper;
inline constexpr Categories symbols = box | punctuation | currency | numeric | law;

inline constexpr Rule rules[] = {
    {{{c1}}},
    {{{bad | accented | symbols}, {bad}}},
    {{{ascii_letter}, {lower_common | upper_common}, {bad}}},
    {{{bad}, {accented | symbols}}},
    {{{lower_accented | lower_common | box | end_punctuation | currency | numeric}, {upper_accented}}},
    {{{box | end_punctuation | currency | numeric}, {lower_accented}}},
    {{{lower_accented | box | end_punctuation}, {currency}}},
    {{{space}, {upper_accented}, {currency}}},
    {{{upper_accented | box}, {numeric | law}}},
    {{{accented | box | currency | end_punctuation}, {start_punctuation}, {numeric}}},
    {{{accented | currency | numeric | box | law}, {end_punctuation}, {start_punctuation}}},
    {{{currency | numeric | box}, {start_punctuation}}},
    {{{ascii_lower}, {upper_accented}, {start_punctuation | currency}}},
    {{{box}, {kaomoji}}},
    {{{accented | currency | numeric | punctuation | law}, {box}}},
    {{{box}, {end_punctuation}}},
    {{{accented}, {punctuation}, {word}}},
    // œ is followed by a letter
    {{{0, U"Œœ"}, {not_ascii_letter}}},
    {{{upper_accented}, {0, U"°"}}},
    // Windows-1252 read as two characters
    {{{0, U"ÂÃÎÐ"}, {punctuation, U"€œŠš¢£Ÿž\u00A0\u00AD®©°·»–—´"}}},
    {{{0, U"×"}, {0, U"²³"}}},
    // Arabic read as Windows-1252: two letters in a row
    {{{0, U"ØÙ"},
      {common | currency | bad | numeric | start_punctuation, U"ŸŠ®°µ»"},
      {0, U"ØÙ"},
      {common | currency | bad | numeric | start_punctuation, U"ŸŠ®°µ»"}}},
    // scripts of southern Asia
    {{{0, U"à"}, {0, U"²µ¹¼½¾"}}},
    // MacRoman
    {{{0, U"√"}, {0, U"±∂†≠®™´≤≥¥µø"}}},
    {{{0, U"≈"}, {0, U"°¢"}}},
    {{{0, U"‚"}, {0, U"Ä"}, {0, U"ìîïòôúùû†°¢π"}}},
    {{{0, U"‚"}, {0, U"âó"}, {0, U"àä°ê"}}},
    // punctuation read as Windows-1251, then Cyrillic read so
    {{{0, U"в"}, {0, U"Ђ"}}},
    {{{0, U"ВГРС"}, {c1 | bad | punctuation | currency, U"°µ"}, {0, U"ВГРС"}}},
    {{{0, U"Г"}, {0, U"ў"}, {0, U"В"}, {0, U"Ђ"}, {0, U"В"}, {not_line_feed}, {ascii_letter, U" "}}},
    // à, á and the space that does not break
    {{{0, U"Ã"}, {0, U"\u00A0¡"}}},
    {{{ascii_lower}, {0, U"ÃÂ"}, {0, U" "}}},
    {{{ascii_lower}, {space}, {0, U"ÃÂ"}, {0, U" "}}},
    {{{0, U"ÃÂ"}, {0, U" "}}, true},
    // Â before what it encodes
    {{{ascii_lower | end_punctuation, U".,?!"}, {0, U"Â"}, {punctuation, U" "}}},
    // punctuation and Greek read as Windows-1253
    {{{0, U"β"}, {0, U"€"}, {0, U"™\u00A0Ά\u00AD®°"}}},
    {{{0, U"ΒΓΞΟ"}, {c1 | bad | punctuation | currency, U"°"}, {0, U"ΒΓΞΟ"}}},
    // punctuation read as Windows-1257
    {{{0, U"ā"}, {0, U"€"}}},
};

/// True if some rule matches somewhere.
inline bool is_mojibake(std::u32string_view text) {
  std::vector<Categories> categories(text.size());
  std::transform(text.begin(), text.end(), categories.begin(), categories_of);
  const auto matches_at = [&](const Rule& rule, std::size_t start) {
    for (const Place& place : rule.places) {
      if (place.empty()) return true;
      if (start == text.size() || !place.accepts(text[start], categories[start])) return false;
      ++start;
    }
    return true;
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (detail::all_below(text.substr(i, 3), 0x80))
      continue;  // every rule has a non-ASCII character among its first three
    for (const Rule& rule : rules)
      if ((!rule.at_start || i == 0) && matches_at(rule, i)) return true;
  }
  return false;
}

/// What a character could be as a byte of UTF-8 that was read as a Latin-like code page; a set of the bits
/// below.
enum Utf8Clue : std::uint8_t {
  first_of_2 = 1,
  first_of_3 = 2,
  first_of_4 = 4,
  continuation = 8,
  strict_continuation = 16,  ///< and that does not stand for itself, as dashes and quotation marks may
};

inline std::uint8_t utf8_clues(char32_t c) {
  static const auto table = [] {
    static constexpr std::u32string_view stand_for_themselves = U"–—―‘’‚“”„•…";
    std::unordered_map<char32_t, std::uint8_t> result;
    result[U' '] = continuation;  // was perhaps a space that does not break, A0
    for (const SingleByteEncoding* page : SingleByteEncodings::get().latin_like()) {
      for (unsigned byte = 0x80; byte < 0xF4; ++byte) {
        const char32_t character = page->decode(static_cast<std::uint8_t>(byte));
        if (byte < 0xC0) result[character] |= continuation;
        if (byte < 0xC0 && stand_for_themselves.find(character) == std::u32string_view::npos)
          result[character] |= strict_continuation;
        if (byte >= 0xC2 && byte < 0xE0) result[character] |= first_of_2;
        if (byte >= 0xE0 && byte < 0xF0) result[character] |= first_of_3;
        if (byte == 0xF0 || byte == 0xF3)
          result[character] |= first_of_4;  // the others begin no assigned character
      }
    }
    return result;
  }();
  const auto found = table.find(c);
  return found == table.end() ? std::uint8_t{0} : found->second;
}

/// Length of the run of misread UTF-8 that starts at `start`, 0 if none does. A run does not start behind a
/// strict continuation, so that a great muddle is left alone rather than mended in spots.
inline std::size_t misread_utf8_length(std::u32string_view text, std::size_t start) {
  if (start > 0 && (utf8_clues(text[start - 1]) & strict_continuation) != 0) return 0;
  std::size_t end = start;
  while (end < text.size()) {
    const std::uint8_t clues = utf8_clues(text[end]);
    const std::size_t more = (clues & first_of_2)   ? 1
                             : (clues & first_of_3) ? 2
                             : (clues & first_of_4) ? 3
                                                    : 0;
    const std::u32string_view rest = text.substr(end + 1, more);
    const auto continues = [](char32_t c) { return (utf8_clues(c) & continuation) != 0; };
    if (more == 0 || rest.size() < more || !std::all_of(rest.begin(), rest.end(), continues)) break;
    end += 1 + more;
  }
  return end - start;
}

}  // namespace reno::text::mojibake
