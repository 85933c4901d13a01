// The few hundred characters that turn up when UTF-8 is read with the wrong code page ("mojibake"), sorted by
// how they are used in proper text. The classification is that of ftfy 6 (R. Speer,
// https://ftfy.readthedocs.io, "badness"): it decides which neighbours are so unlikely that a text must have
// been decoded wrongly.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <unordered_map>

#include "reno/text/unicode.hpp"

namespace reno::text::mojibake {

/// Set of categories, one bit each.
using Categories = std::uint32_t;

enum Category : Categories {
  common = 1u << 0,  ///< fine in many contexts
  c1 = 1u << 1,      ///< the control characters of Latin-1
  bad = 1u << 2,     ///< hardly ever meant
  law = 1u << 3,     ///< paragraph signs
  currency = 1u << 4,
  start_punctuation = 1u << 5,
  end_punctuation = 1u << 6,
  numeric = 1u << 7,         ///< of formulas
  kaomoji = 1u << 8,         ///< letters that also serve as faces
  upper_accented = 1u << 9,  ///< of Latin scripts
  lower_accented = 1u << 10,
  upper_common = 1u << 11,  ///< Greek and Cyrillic
  lower_common = 1u << 12,
  box = 1u << 13,  ///< box drawings
  ascii_lower = 1u << 14,
  ascii_upper = 1u << 15,
  space = 1u << 16,  ///< `\s` of a regular expression
  word = 1u << 17,   ///< `\w` of a regular expression
  not_ascii_letter = 1u << 18,
  not_line_feed = 1u << 19,
};

struct CategoryMembers {
  Category category;
  std::u32string_view members;  ///< "a-c" is a range, as in a regular expression
};

inline constexpr CategoryMembers category_members[] = {
    {common, U"\u00A0\u00AD·´–—―…’"},
    {c1, U"\u0080-\u009F"},
    {bad, U"¦¤¨¬¯¸ƒˆˇ˘˛˜†‡‰⌐◊\uFFFDªº"},
    {law, U"¶§"},
    {currency, U"¢£¥₧€"},
    {start_punctuation, U"¡«¿©΄΅‘‚“„•‹\uF8FF"},
    {end_punctuation, U"®»˝”›™"},
    {numeric, U"²³¹±¼½¾×µ÷⁄∂∆∏∑√∞∩∫≈≠≡≤≥№"},
    {kaomoji, U"Ò-ÖÙ-Üò-öø-üŐŌŪŲ°"},
    {upper_accented, U"À-ÑØÜÝĂĀĄĆČĎĐĘĚĒĖĞĢİĪĶĹĽŁĻŃŇŅŒŘŚŞŠŢŤŮŰŸŹŻŽҐ"},
    {lower_accented, U"ßà-ñăąāćčďđęěēėğģįīķĺľłļœŕśşšťüźżžґﬁﬂ"},
    {upper_common, U"ÞΑ-ΩΆΈΉΊΌΎΏΪΫЁ-Я"},
    {lower_common, U"α-ωάέήίΰа-џ"},
    {box, U"│┌┐┘├┤┬┼═-╬▀▄█▌▐░▒▓"},
};

/// Calls `visit` for every character of a list with ranges.
template <typename Visit>
void for_each_member(std::u32string_view members, Visit visit) {
  for (std::size_t i = 0; i < members.size(); ++i) {
    const bool range = i + 2 < members.size() && members[i + 1] == U'-';
    const char32_t last = range ? members[i + 2] : members[i];
    for (char32_t c = members[i]; c <= last; ++c) visit(c);
    if (range) i += 2;
  }
}

inline Categories ascii_categories(char32_t c) {
  const bool lower = c >= U'a' && c <= U'z';
  const bool upper = c >= U'A' && c <= U'Z';
  const bool digit = c >= U'0' && c <= U'9';
  return (lower ? ascii_lower : 0u) | (upper ? ascii_upper : 0u) | (lower || upper ? 0u : not_ascii_letter) |
         (lower || upper || digit || c == U'_' ? word : 0u) | (is_python_space(c) ? space : 0u) |
         (c == U'\n' ? 0u : not_line_feed);
}

inline Categories categories_of(char32_t c) {
  static const auto table = [] {
    std::unordered_map<char32_t, Categories> result;
    for (const auto& [category, members] : category_members)
      for_each_member(members, [&](char32_t member) { result[member] |= category; });
    return result;
  }();
  if (c < 0x80) return ascii_categories(c);
  const auto found = table.find(c);
  return (found == table.end() ? 0u : found->second) | not_ascii_letter | not_line_feed |
         (is_letter(c) || is_number(c) ? word : 0u) | (is_python_space(c) ? space : 0u);
}

}  // namespace reno::text::mojibake
