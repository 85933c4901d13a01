// `fix_text` of ftfy 6 (R. Speer, https://ftfy.readthedocs.io) in its default settings: what CLIP's
// tokenisers do to a prompt first. HTML entities, mojibake, controls, ligatures, full-width letters, curly
// quotes, line breaks and terminal colours are undone until nothing changes any more, and the result is in
// normal form C.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

#include "reno/text/fix_encoding.hpp"
#include "reno/text/unescape_html.hpp"
#include "reno/text/unicode.hpp"

namespace reno::text {

/// Latin ligatures and digraphs that stand for two letters.
inline std::u32string_view split_ligature(char32_t c) {
  struct Ligature {
    char32_t character;
    std::u32string_view letters;
  };
  static constexpr Ligature ligatures[] = {
      {U'Ĳ', U"IJ"},  {U'ĳ', U"ij"},  {U'ŉ', U"ʼn"}, {U'Ǳ', U"DZ"}, {U'ǲ', U"Dz"}, {U'ǳ', U"dz"},
      {U'Ǆ', U"DŽ"},  {U'ǅ', U"Dž"},  {U'ǆ', U"dž"}, {U'Ǉ', U"LJ"}, {U'ǈ', U"Lj"}, {U'ǉ', U"lj"},
      {U'Ǌ', U"NJ"},  {U'ǋ', U"Nj"},  {U'ǌ', U"nj"}, {U'ﬀ', U"ff"}, {U'ﬁ', U"fi"}, {U'ﬂ', U"fl"},
      {U'ﬃ', U"ffi"}, {U'ﬄ', U"ffl"}, {U'ﬅ', U"ſt"}, {U'ﬆ', U"st"}};
  if (c < U'Ĳ' || c > U'ﬆ') return {};
  const auto* found = std::find_if(std::begin(ligatures), std::end(ligatures),
                                   [c](const Ligature& l) { return l.character == c; });
  return found == std::end(ligatures) ? std::u32string_view() : found->letters;
}

inline void fix_latin_ligatures(std::u32string& text) {
  std::u32string result;
  result.reserve(text.size());
  for (const char32_t c : text) {
    const std::u32string_view letters = split_ligature(c);
    if (letters.empty()) result.push_back(c);
    result += letters;
  }
  text = std::move(result);
}

/// Full-width Latin and half-width Katakana and Hangul become ordinary; the wide space becomes a space.
inline void fix_character_width(std::u32string& text) {
  std::u32string result;
  result.reserve(text.size());
  for (const char32_t c : text) {
    if (c >= 0xFF01 && c <= 0xFFEF) {
      result += to_nfkc(std::u32string_view(&c, 1));
    } else {
      result.push_back(c == U'\u3000' ? U' ' : c);
    }
  }
  text = std::move(result);
}

inline void uncurl_quotes(std::u32string& text) {
  for (char32_t& c : text) {
    if (c == U'\u02BC' || (c >= U'\u2018' && c <= U'\u201B')) c = U'\'';
    if (c >= U'\u201C' && c <= U'\u201F') c = U'"';
  }
}

inline void fix_line_breaks(std::u32string& text) {
  std::size_t size = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char32_t c = text[i];
    if (c == U'\r' && i + 1 < text.size() && text[i + 1] == U'\n') continue;
    const bool breaks = c == U'\r' || c == U'\u2028' || c == U'\u2029' || c == U'\u0085';
    text[size++] = breaks ? U'\n' : c;
  }
  text.resize(size);
}

/// Sequences such as ESC [ 1 ; 31 m.
inline void remove_terminal_escapes(std::u32string& text) {
  std::size_t size = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == U'\x1B' && i + 1 < text.size() && text[i + 1] == U'[') {
      std::size_t end = i + 2;
      while (end < text.size() && (text[end] == U';' || u_isdigit(static_cast<UChar32>(text[end])))) ++end;
      if (end < text.size() && detail::is_ascii_letter(text[end])) {
        i = end;
        continue;
      }
    }
    text[size++] = text[i];
  }
  text.resize(size);
}

/// Characters without any effect on display; white space, joiners, direction marks and emoji tags stay.
inline bool is_useless_control(char32_t c) {
  const bool ascii = c <= 0x08 || c == 0x0B || (c >= 0x0E && c <= 0x1F) || c == 0x7F;
  return ascii || (c >= 0x206A && c <= 0x206F) || c == 0xFEFF || (c >= 0xFFF9 && c <= 0xFFFC);
}

inline void remove_control_characters(std::u32string& text) { std::erase_if(text, is_useless_control); }

namespace detail {

inline std::u32string fix_segment(std::u32string text, bool unescape) {
  RepairBudget budget(text.size());
  for (;;) {
    budget.spend(text.size());
    const std::u32string before = text;
    if (unescape) text = unescape_complete_html(text);
    text = fix_encoding(std::move(text), budget);
    fix_c1_controls(text);
    fix_latin_ligatures(text);
    fix_character_width(text);
    uncurl_quotes(text);
    fix_line_breaks(text);
    remove_terminal_escapes(text);
    remove_control_characters(text);
    text = to_nfc(text);
    if (text == before) return text;
  }
}

/// Nothing in it for `fix_segment` to do.
inline bool is_plain(std::u32string_view text) {
  return std::all_of(text.begin(), text.end(), [](char32_t c) {
    return c < 0x7F && c != U'&' && (c >= 0x20 || c == U'\t' || c == U'\n' || c == U'\f');
  });
}

}  // namespace detail

/// ftfy's `fix_text`, line by line. As there, entities stay as they are from the first line on that has a
/// '<': it is HTML then. Throws ConfigurationError for text that never settles.
inline std::u32string fix_text(std::u32string_view text) {
  static constexpr std::size_t longest_segment = 1'000'000;
  std::u32string result;
  result.reserve(text.size());
  bool unescape = true;
  while (!text.empty()) {
    const std::size_t line = std::min(text.find(U'\n'), text.size() - 1) + 1;
    const std::u32string_view segment = text.substr(0, std::min(line, longest_segment));
    unescape = unescape && segment.find(U'<') == std::u32string_view::npos;
    result += detail::is_plain(segment) ? std::u32string(segment)
                                        : detail::fix_segment(std::u32string(segment), unescape);
    text.remove_prefix(segment.size());
  }
  return result;
}

}  // namespace reno::text
