// Text as Python's `str` sees it: a sequence of code points. Prompts come in as UTF-8, are cleaned as UTF-32
// and leave as UTF-8; normal forms, letter case and character classes are ICU's.
#pragma once

#include <unicode/locid.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>
#include <unicode/utf16.h>
#include <unicode/utf8.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "reno/error.hpp"

namespace reno::text {

namespace detail {

/// Calls `visit(code point)`, or `visit(negative)` once for each ill-formed part (the longest start of a
/// sequence that could still have become valid, as the Unicode standard recommends and Python does). Stops
/// when `visit` returns false.
template <typename Visit>
void for_each_code_point(std::string_view bytes, Visit visit) {
  const auto* data = reinterpret_cast<const std::uint8_t*>(bytes.data());
  const std::size_t size = bytes.size();
  for (std::size_t i = 0; i < size;) {
    UChar32 c;
    U8_NEXT(data, i, size, c);
    if (!visit(c)) return;
  }
}

inline icu::UnicodeString to_icu(std::u32string_view text) {
  if (text.size() > 500'000'000)
    throw ConfigurationError("a text of more than 500 million characters is not a prompt");
  icu::UnicodeString result;
  for (const char32_t c : text) result.append(static_cast<UChar32>(c));
  return result;
}

inline std::u32string from_icu(const icu::UnicodeString& text) {
  std::u32string result;
  result.reserve(static_cast<std::size_t>(text.length()));
  const char16_t* units = text.getBuffer();
  const std::int32_t size = text.length();
  for (std::int32_t i = 0; i < size;) {
    UChar32 c;
    U16_NEXT(units, i, size, c);
    result.push_back(static_cast<char32_t>(c));
  }
  return result;
}

/// Sorting the marks on one letter takes time in the square of their number; no letter has so many.
inline void check_marks(const icu::Normalizer2& normalizer, std::u32string_view text) {
  std::size_t marks = 0;
  for (const char32_t c : text) {
    marks = c < 0x300 || normalizer.hasBoundaryBefore(static_cast<UChar32>(c)) ? 0 : marks + 1;
    if (marks > 1000)
      throw ConfigurationError("a prompt has more than 1000 combining marks on one letter; it is not text");
  }
}

inline std::u32string normalized(const icu::Normalizer2* (*form)(UErrorCode&), std::u32string_view text) {
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* normalizer = form(status);
  if (U_SUCCESS(status)) check_marks(*normalizer, text);
  const icu::UnicodeString result =
      U_SUCCESS(status) ? normalizer->normalize(to_icu(text), status) : icu::UnicodeString();
  if (U_FAILURE(status)) throw RunError(std::string("Unicode normalisation failed: ") + u_errorName(status));
  return from_icu(result);
}

inline bool all_below(std::u32string_view text, char32_t limit) {
  return std::all_of(text.begin(), text.end(), [limit](char32_t c) { return c < limit; });
}

}  // namespace detail

/// As Python's `bytes.decode(errors='replace')`: what is not UTF-8 becomes U+FFFD.
inline std::u32string decode_utf8(std::string_view bytes) {
  std::u32string result;
  result.reserve(bytes.size());
  detail::for_each_code_point(bytes, [&](UChar32 c) {
    result.push_back(c < 0 ? U'\uFFFD' : static_cast<char32_t>(c));
    return true;
  });
  return result;
}

/// Nothing if `bytes` is not UTF-8.
inline std::optional<std::u32string> decode_utf8_strict(std::string_view bytes) {
  std::optional<std::u32string> result(std::in_place);
  detail::for_each_code_point(bytes, [&](UChar32 c) {
    if (c < 0) {
      result.reset();
    } else {
      result->push_back(static_cast<char32_t>(c));
    }
    return result.has_value();
  });
  return result;
}

inline void append_utf8(std::string& out, char32_t c) {
  std::uint8_t buffer[U8_MAX_LENGTH];
  std::size_t size = 0;
  U8_APPEND_UNSAFE(buffer, size, c);
  out.append(reinterpret_cast<const char*>(buffer), size);
}

inline std::string encode_utf8(std::u32string_view text) {
  std::string result;
  result.reserve(text.size());
  for (const char32_t c : text) append_utf8(result, c);
  return result;
}

/// Canonical composition.
inline std::u32string to_nfc(std::u32string_view text) {
  if (detail::all_below(text, 0x300)) return std::u32string(text);
  return detail::normalized(icu::Normalizer2::getNFCInstance, text);
}

/// Canonical decomposition.
inline std::u32string to_nfd(std::u32string_view text) {
  if (detail::all_below(text, 0xC0)) return std::u32string(text);
  return detail::normalized(icu::Normalizer2::getNFDInstance, text);
}

/// Compatibility composition.
inline std::u32string to_nfkc(std::u32string_view text) {
  if (detail::all_below(text, 0xA0)) return std::u32string(text);
  return detail::normalized(icu::Normalizer2::getNFKCInstance, text);
}

/// As `str.lower()`: full mappings, and a capital sigma that ends a word becomes the final small sigma.
inline std::u32string to_lower(std::u32string_view text) {
  if (!detail::all_below(text, 0x80))
    return detail::from_icu(detail::to_icu(text).toLower(icu::Locale::getRoot()));
  std::u32string result(text);
  for (char32_t& c : result) c += c >= U'A' && c <= U'Z' ? 32 : 0;
  return result;
}

/// As `str.upper()`.
inline std::u32string to_upper(std::u32string_view text) {
  return detail::from_icu(detail::to_icu(text).toUpper(icu::Locale::getRoot()));
}

/// Lower case of every character on its own: no final sigma.
inline std::u32string to_lower_each(std::u32string_view text) {
  std::u32string result;
  result.reserve(text.size());
  for (const char32_t c : text) {
    if (c == U'\u0130') {
      result += U"i\u0307";  // the only character whose lower case is two
    } else {
      result.push_back(static_cast<char32_t>(u_tolower(static_cast<UChar32>(c))));
    }
  }
  return result;
}

/// The Unicode property White_Space: `\s` of most regular expressions.
inline bool is_white_space(char32_t c) { return u_isUWhiteSpace(static_cast<UChar32>(c)) != 0; }

/// As `str.isspace()`, which counts four separator controls as well.
inline bool is_python_space(char32_t c) { return is_white_space(c) || (c >= 0x1C && c <= 0x1F); }

inline bool is_letter(char32_t c) { return (U_GET_GC_MASK(static_cast<UChar32>(c)) & U_GC_L_MASK) != 0; }
inline bool is_number(char32_t c) { return (U_GET_GC_MASK(static_cast<UChar32>(c)) & U_GC_N_MASK) != 0; }

/// As `str.strip()`.
inline std::u32string_view strip(std::u32string_view text) {
  while (!text.empty() && is_python_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_python_space(text.back())) text.remove_suffix(1);
  return text;
}

/// Every run of white space becomes one space.
inline std::u32string collapse_white_space(std::u32string_view text) {
  std::u32string result;
  result.reserve(text.size());
  bool after_space = false;
  for (const char32_t c : text) {
    const bool space = is_white_space(c);
    if (!space) result.push_back(c);
    if (space && !after_space) result.push_back(U' ');
    after_space = space;
  }
  return result;
}

}  // namespace reno::text
