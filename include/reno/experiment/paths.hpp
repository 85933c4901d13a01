// File names from prompts: any text becomes one name that every file system takes and that people still
// recognise.
#pragma once

#include <unicode/uchar.h>
#include <unicode/utf8.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace reno {

namespace detail {

/// Reads the code point at `i` and moves `i` behind it; negative for what is not UTF-8.
inline UChar32 next_code_point(std::string_view text, std::size_t& i) {
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(text.data());
  UChar32 point = 0;
  U8_NEXT(bytes, i, text.size(), point);
  return point;
}

/// What a file name shows for a code point: itself, ' ' for spaces and control characters, '_' for what
/// some file system or shell would misread, nothing for bidirectional controls, which could make a name look
/// like another.
inline std::string_view file_name_text(UChar32 point, std::string_view encoded) {
  constexpr std::string_view reserved = "<>:\"/\\|?*";
  if (point < 0) return "\xEF\xBF\xBD";  // U+FFFD
  if (point < 0x80 && reserved.find(static_cast<char>(point)) != std::string_view::npos) return "_";
  if (u_isspace(point) || u_charType(point) == U_CONTROL_CHAR) return " ";
  if (u_hasBinaryProperty(point, UCHAR_BIDI_CONTROL)) return "";
  return encoded;
}

}  // namespace detail

inline bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    if (detail::next_code_point(text, i) < 0) return false;
  }
  return true;
}

/// A file name for the prompt: the same one each time, valid UTF-8 of 1 to `max_bytes` bytes (at least 16),
/// without '/', control characters, or the characters that Windows reserves; neither hidden nor "..". Prompts
/// may share a name.
inline std::string safe_file_name(std::string_view prompt, std::size_t max_bytes = 150) {
  std::string name;
  for (std::size_t i = 0; i < prompt.size();) {
    const std::size_t begin = i;
    const UChar32 point = detail::next_code_point(prompt, i);
    std::string_view text = detail::file_name_text(point, prompt.substr(begin, i - begin));
    if (text == " " && (name.empty() || name.back() == ' ')) continue;
    if (text == "." && name.empty()) text = "_";
    if (name.size() + text.size() > max_bytes) break;
    name += text;
  }
  while (!name.empty() && (name.back() == ' ' || name.back() == '.')) name.pop_back();
  return name.empty() ? "empty-prompt" : name;
}

}  // namespace reno
