// Undoes mojibake as ftfy 6 does: encode the text with the code page by which it was misread, decode the
// bytes as UTF-8, and repeat while the result still looks misread. What cannot be undone as a whole is undone
// in the runs that look like UTF-8.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "reno/error.hpp"
#include "reno/text/damaged_utf8.hpp"
#include "reno/text/mojibake.hpp"
#include "reno/text/single_byte_encodings.hpp"
#include "reno/text/unicode.hpp"

namespace reno::text {

/// Bounds the work on one text. Repair repeats until nothing changes; real text settles in two or three
/// rounds, but one can be made up whose every round undoes a single character, and then time grows with the
/// square of its length.
class RepairBudget {
 public:
  explicit RepairBudget(std::size_t characters) : left_(10'000'000 + 16 * characters) {}

  /// Throws ConfigurationError when the budget is spent.
  void spend(std::size_t characters) {
    if (characters > left_)
      throw ConfigurationError(
          "a prompt is not text: its wrongly decoded characters or HTML entities are nested too deeply to "
          "undo; clean it up by hand");
    left_ -= characters;
  }

 private:
  std::size_t left_;
};

namespace detail {

/// The text behind one code page, if it is UTF-8.
inline std::optional<std::u32string> reread(std::string bytes, const SingleByteEncoding& page) {
  const SingleByteEncodings& pages = SingleByteEncodings::get();
  if (&page != &pages.mac_roman)
    bytes = restore_byte_a0(std::move(bytes));  // there, C3 before a space is a dash
  if (page.sloppy()) bytes = replace_lossy_sequences(bytes);
  return decode_utf8_strict(regular_utf8(bytes));
}

inline std::u32string fix_encoding(std::u32string text, RepairBudget& budget);

/// Rereads only the runs that look like UTF-8.
inline std::u32string reread_runs(std::u32string_view text, RepairBudget& budget) {
  std::u32string result;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = mojibake::misread_utf8_length(text, i);
    std::u32string run(text.substr(i, std::max<std::size_t>(length, 1)));
    i += run.size();
    const bool fixable = length > 0 && length < text.size() && mojibake::is_mojibake(run);
    result += fixable ? fix_encoding(std::move(run), budget) : run;
  }
  return result;
}

}  // namespace detail

/// Controls of Latin-1 become the characters that Windows-1252 has in their places.
inline void fix_c1_controls(std::u32string& text) {
  for (char32_t& c : text)
    if (c >= 0x80 && c <= 0x9F)
      c = SingleByteEncodings::get().windows_1252.decode(static_cast<std::uint8_t>(c));
}

namespace detail {

/// Windows-1252 that was read as Latin-1; nothing if a byte is not assigned there.
inline std::optional<std::u32string> latin_1_as_windows_1252(std::u32string text) {
  static constexpr std::u32string_view unassigned = U"\u0081\u008D\u008F\u0090\u009D";
  if (!all_below(text, 0x100) || text.find_first_of(unassigned) != std::u32string::npos) return std::nullopt;
  fix_c1_controls(text);
  return text;
}

inline std::u32string fix_encoding_once(std::u32string text, RepairBudget& budget) {
  if (all_below(text, 0x80) || !mojibake::is_mojibake(text)) return text;
  for (const SingleByteEncoding* page : SingleByteEncodings::get().all())
    if (std::optional<std::string> bytes = page->encode(text))
      if (std::optional<std::u32string> fixed = reread(std::move(*bytes), *page)) return *std::move(fixed);
  std::u32string fixed = reread_runs(text, budget);
  if (fixed != text) return fixed;
  if (std::optional<std::u32string> windows = latin_1_as_windows_1252(text); windows && *windows != text)
    return *std::move(windows);
  fix_c1_controls(text);
  return text;
}

inline std::u32string fix_encoding(std::u32string text, RepairBudget& budget) {
  for (;;) {
    budget.spend(text.size());
    std::u32string fixed = fix_encoding_once(text, budget);
    if (fixed == text) return text;
    text = std::move(fixed);
  }
}

}  // namespace detail

/// ftfy's `fix_encoding`. Throws ConfigurationError for text that never settles.
inline std::u32string fix_encoding(std::u32string_view text, RepairBudget& budget) {
  return detail::fix_encoding(std::u32string(text), budget);
}

}  // namespace reno::text
