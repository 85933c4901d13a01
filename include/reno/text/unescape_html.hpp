// Character references of HTML, `&eacute;` or `&#233;`, replaced by what they stand for: once as Python's
// `html.unescape` does (by the HTML 5 standard, the semicolon being optional here and there) and once as ftfy
// does (complete references only).
#pragma once

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <string>
#include <string_view>

#include "reno/text/html_entities.hpp"
#include "reno/text/unicode.hpp"

namespace reno::text {

namespace detail {

inline bool is_ascii_digit(char32_t c) { return c >= U'0' && c <= U'9'; }
inline bool is_ascii_letter(char32_t c) { return (c >= U'a' && c <= U'z') || (c >= U'A' && c <= U'Z'); }

inline int hex_digit(char32_t c) {
  if (is_ascii_digit(c)) return static_cast<int>(c - U'0');
  if (c >= U'a' && c <= U'f') return static_cast<int>(c - U'a') + 10;
  if (c >= U'A' && c <= U'F') return static_cast<int>(c - U'A') + 10;
  return -1;
}

/// `name` as in the standard, with or without its semicolon; null when HTML has no such reference.
inline const HtmlEntity* find_html_entity(std::u32string_view name) {
  const bool complete = !name.empty() && name.back() == U';';
  if (complete) name.remove_suffix(1);
  const auto* found = std::lower_bound(std::begin(html_entities), std::end(html_entities), name,
                                       [](const HtmlEntity& entity, std::u32string_view key) {
                                         return std::lexicographical_compare(
                                             entity.name.begin(), entity.name.end(), key.begin(), key.end());
                                       });
  if (found == std::end(html_entities) ||
      !std::equal(name.begin(), name.end(), found->name.begin(), found->name.end()))
    return nullptr;
  return complete || found->semicolon_optional ? found : nullptr;
}

inline void append(std::u32string& out, const HtmlEntity& entity) {
  out.push_back(entity.first);
  if (entity.second != 0) out.push_back(entity.second);
}

/// What the reference `&#number;` stands for by the standard: the controls of Latin-1 mean Windows-1252.
inline std::u32string numeric_reference(char32_t number) {
  static constexpr std::u32string_view windows_1252 =
      U"€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008dŽ\u008f\u0090‘’“”•–—˜™š›œ\u009džŸ";
  if (number == 0 || number > 0x10FFFF || (number >= 0xD800 && number <= 0xDFFF)) return U"\uFFFD";
  if (number >= 0x80 && number <= 0x9F) return std::u32string(1, windows_1252[number - 0x80]);
  const bool control =
      (number < 0x20 && number != U'\t' && number != U'\n' && number != U'\f' && number != U'\r') ||
      number == 0x7F;
  const bool noncharacter = (number >= 0xFDD0 && number <= 0xFDEF) || (number & 0xFFFE) == 0xFFFE;
  return control || noncharacter ? std::u32string() : std::u32string(1, number);
}

/// Reads `&#12;` or `&#xC;` at the start of `text`, the semicolon being optional; returns its length, 0 if
/// there is none.
inline std::size_t read_numeric_reference(std::u32string_view text, std::u32string& out) {
  std::size_t i = 2;
  const bool hexadecimal = i < text.size() && (text[i] == U'x' || text[i] == U'X');
  if (hexadecimal) ++i;
  const std::size_t digits = i;
  char32_t number = 0;
  for (; i < text.size(); ++i) {
    const int digit = hex_digit(text[i]);
    if (digit < 0 || (!hexadecimal && digit > 9)) break;
    number = std::min<char32_t>(number * (hexadecimal ? 16 : 10) + static_cast<char32_t>(digit),
                                0x110000);  // saturates: no overflow
  }
  if (i == digits) return 0;
  if (i < text.size() && text[i] == U';') ++i;
  out += numeric_reference(number);
  return i;
}

/// Reads `&name;` at the start of `text`. Where the name is not known, its longest start that is counts
/// ("&notit;" is "¬it;"); where there is none either, the text stays. Returns the length read.
inline std::size_t read_named_reference(std::u32string_view text, std::u32string& out) {
  static constexpr std::u32string_view end_of_name = U"\t\n\f <&#;";
  std::size_t i = 1;
  while (i < text.size() && i <= 32 && end_of_name.find(text[i]) == std::u32string_view::npos) ++i;
  if (i == 1) return 0;
  if (i < text.size() && text[i] == U';') ++i;
  const std::u32string_view name = text.substr(1, i - 1);
  std::size_t known = name.size();
  const HtmlEntity* entity = find_html_entity(name);
  while (!entity && --known >= 2) entity = find_html_entity(name.substr(0, known));
  if (!entity) known = 0;
  if (entity) append(out, *entity);
  out += entity ? name.substr(known) : text.substr(0, i);
  return i;
}

}  // namespace detail

/// Python's `html.unescape`.
inline std::u32string unescape_html(std::u32string_view text) {
  std::u32string result;
  result.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const std::u32string_view rest = text.substr(i);
    std::size_t read = 0;
    if (rest.front() == U'&' && rest.size() > 1)
      read = rest[1] == U'#' ? detail::read_numeric_reference(rest, result)
                             : detail::read_named_reference(rest, result);
    if (read == 0) result.push_back(text[i]);
    i += std::max<std::size_t>(read, 1);
  }
  return result;
}

namespace detail {

/// `reference` is "&name;" or "&#…;". ftfy also accepts lower-case names written in capitals, whose character
/// becomes a capital too.
inline std::u32string complete_reference(std::u32string_view reference) {
  if (reference[1] == U'#') {
    const std::u32string result = unescape_html(reference);
    return result.find(U';') == std::u32string::npos ? result : std::u32string(reference);
  }
  const std::u32string_view name = reference.substr(1);
  std::u32string result;
  if (const HtmlEntity* entity = find_html_entity(name)) {
    append(result, *entity);
    return result;
  }
  const std::u32string lower = to_lower(name);
  const HtmlEntity* entity = find_html_entity(lower);
  if (!entity || to_upper(lower) != name || unescape_html(reference) != reference)
    return std::u32string(reference);
  append(result, *entity);
  return to_upper(result);
}

}  // namespace detail

/// ftfy's `unescape_html`: only references that are complete, with at most 24 letters and digits.
inline std::u32string unescape_complete_html(std::u32string_view text) {
  std::u32string result;
  result.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    std::size_t end = i;
    if (text[i] == U'&') {
      end += i + 1 < text.size() && text[i + 1] == U'#' ? 2 : 1;
      const std::size_t first = end;
      while (end < text.size() && end - first < 24 &&
             (detail::is_ascii_digit(text[end]) || detail::is_ascii_letter(text[end])))
        ++end;
      const bool complete = end > first && end < text.size() && text[end] == U';';
      end = complete ? end + 1 : i;
    }
    if (end > i) {
      result += detail::complete_reference(text.substr(i, end - i));
      i = end;
    } else {
      result.push_back(text[i++]);
    }
  }
  return result;
}

}  // namespace reno::text
