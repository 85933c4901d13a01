// UTF-8 that was damaged before or after it was read with the wrong code page, mended as ftfy 6 does: spaces
// that were the byte A0, sequences that lost bytes, and older ways to write UTF-8.
#pragma once

#include <cstddef>
#include <iterator>
#include <string>
#include <string_view>

#include "reno/text/unicode.hpp"

namespace reno::text {

namespace detail {

/// A set of bytes as pairs of first and last.
struct ByteClass {
  std::string_view ranges;

  bool contains(char byte) const {
    const auto value = [](char c) { return static_cast<unsigned char>(c); };
    for (std::size_t i = 0; i + 1 < ranges.size(); i += 2)
      if (value(byte) >= value(ranges[i]) && value(byte) <= value(ranges[i + 1])) return true;
    return false;
  }
};

/// A run of bytes, one class each.
struct BytePattern {
  ByteClass places[6] = {};

  /// Its length if `bytes` starts with it, else 0.
  std::size_t match(std::string_view bytes) const {
    std::size_t i = 0;
    for (; i < std::size(places) && !places[i].ranges.empty(); ++i)
      if (i == bytes.size() || !places[i].contains(bytes[i])) return 0;
    return i;
  }
};

/// Length of the first pattern that `bytes` starts with, 0 if there is none.
template <std::size_t N>
std::size_t match_any(const BytePattern (&patterns)[N], std::string_view bytes) {
  for (const BytePattern& pattern : patterns)
    if (const std::size_t length = pattern.match(bytes)) return length;
  return 0;
}

inline constexpr std::string_view any_continuation = "\x80\xBF";
inline constexpr std::string_view lost = "\x1A\x1A";  // stands for U+FFFD
inline constexpr std::string_view lost_or_question = "\x1A\x1A??";
inline constexpr std::string_view lost_or_continuation = "\x1A\x1A\x80\xBF";
inline constexpr std::string_view lost_question_or_continuation = "\x1A\x1A??\x80\xBF";
inline constexpr std::string_view high_surrogate = "\xA0\xAF";  // second byte, after ED
inline constexpr std::string_view low_surrogate = "\xB0\xBF";
inline constexpr std::string_view not_a_space = "\x80\x84\x86\x9F\xA1\xBF";

/// UTF-8 whose byte A0 became a space; only where the character so restored is a likely one.
inline constexpr BytePattern spaced_utf8[] = {
    {{{"\xC2\xC3\xC5\xC5\xCE\xCE\xD0\xD0\xD9\xD9"}, {"  "}}},
    {{{"\xE2\xE3"}, {"  "}, {not_a_space}}},
    {{{"\xE0\xE3"}, {not_a_space}, {"  "}}},
    {{{"\xF0\xF0"}, {"  "}, {any_continuation}, {any_continuation}}},
    {{{"\xF0\xF0"}, {any_continuation}, {"  "}, {any_continuation}}},
    {{{"\xF0\xF0"}, {any_continuation}, {any_continuation}, {"  "}}},
};

/// UTF-8 (or CESU-8) some of whose continuation bytes were lost.
inline constexpr BytePattern lossy_utf8[] = {
    {{{"\xC2\xDF"}, {lost}}},
    {{{"\xC2\xC3"}, {"??"}}},
    {{{"\xED\xED"},
      {high_surrogate},
      {lost_or_question},
      {"\xED\xED"},
      {low_surrogate},
      {lost_question_or_continuation}}},
    {{{"\xED\xED"},
      {high_surrogate},
      {lost_question_or_continuation},
      {"\xED\xED"},
      {low_surrogate},
      {lost_or_question}}},
    {{{"\xE0\xEF"}, {lost_or_question}, {lost_or_continuation}}},
    {{{"\xE0\xEF"}, {lost_or_continuation}, {lost_or_question}}},
    {{{"\xF0\xF4"}, {lost_or_question}, {lost_or_continuation}, {lost_or_continuation}}},
    {{{"\xF0\xF4"}, {lost_or_continuation}, {lost_or_question}, {lost_or_continuation}}},
    {{{"\xF0\xF4"}, {lost_or_continuation}, {lost_or_continuation}, {lost_or_question}}},
    {{{lost}}},
};

/// "Ã la" is "à la", but "Ã quele" is "àquele": a space that was A0 is followed by a lost space, save in
/// contractions of Portuguese.
inline std::string restore_a_grave(std::string_view bytes) {
  std::string result;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    result.push_back(bytes[i]);
    if (bytes.substr(i, 2) != "\xC3 ") continue;
    const std::string_view rest = bytes.substr(i + 2);
    const bool contraction = rest.starts_with(" ") || rest.starts_with("quele") ||
                             rest.starts_with("quela") || rest.starts_with("quilo") || rest.starts_with("s ");
    if (!contraction) result.push_back('\xA0');
  }
  return result;
}

/// Puts the bytes A0 back that were turned into spaces.
inline std::string restore_byte_a0(std::string bytes) {
  bool found = false;
  for (std::size_t i = 0; i < bytes.size() && !found; ++i)
    found = match_any(spaced_utf8, std::string_view(bytes).substr(i)) != 0;
  if (!found) return bytes;
  bytes = restore_a_grave(bytes);
  for (std::size_t i = 0; i < bytes.size();) {
    const std::size_t length = match_any(spaced_utf8, std::string_view(bytes).substr(i));
    for (std::size_t k = i; k < i + length; ++k)
      if (bytes[k] == ' ') bytes[k] = '\xA0';
    i += length == 0 ? 1 : length;
  }
  return bytes;
}

/// Sequences with lost bytes become U+FFFD.
inline std::string replace_lossy_sequences(std::string_view bytes) {
  std::string result;
  for (std::size_t i = 0; i < bytes.size();) {
    const std::size_t length = match_any(lossy_utf8, bytes.substr(i));
    if (length == 0) {
      result.push_back(bytes[i++]);
    } else {
      result += "\xEF\xBF\xBD";
      i += length;
    }
  }
  return result;
}

/// Two older ways to write UTF-8, made regular: Java's NUL (C0 80) and surrogate pairs (CESU-8).
inline std::string regular_utf8(std::string_view bytes) {
  static constexpr BytePattern surrogate_pair = {{{"\xED\xED"},
                                                  {high_surrogate},
                                                  {any_continuation},
                                                  {"\xED\xED"},
                                                  {low_surrogate},
                                                  {any_continuation}}};
  std::string result;
  for (std::size_t i = 0; i < bytes.size();) {
    const auto bits = [&](std::size_t k, unsigned mask) {
      return static_cast<unsigned char>(bytes[i + k]) & mask;
    };
    if (bytes.substr(i, 2) == "\xC0\x80") {
      result.push_back('\0');
      i += 2;
    } else if (surrogate_pair.match(bytes.substr(i)) != 0) {
      append_utf8(result, 0x10000 + (bits(1, 0x0F) << 16) + (bits(2, 0x3F) << 10) + (bits(4, 0x0F) << 6) +
                              bits(5, 0x3F));
      i += 6;
    } else {
      result.push_back(bytes[i++]);
    }
  }
  return result;
}

}  // namespace detail

}  // namespace reno::text
