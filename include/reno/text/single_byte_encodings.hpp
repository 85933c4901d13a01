// The code pages in which UTF-8 is most often misread, as ftfy knows them. Tables come from ICU; the "sloppy"
// Windows pages also map their unassigned bytes, to the Latin-1 control of the same number, and byte 1A to
// U+FFFD, as programs do that lose characters.
#pragma once

#include <unicode/ucnv.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "reno/error.hpp"

namespace reno::text {

/// One code page in both directions.
class SingleByteEncoding {
 public:
  /// `icu_name` as ICU's converters are called. All of them begin with ASCII (ICU's IBM437 shuffles its
  /// controls; that is not meant).
  SingleByteEncoding(const char* icu_name, bool sloppy) : sloppy_(sloppy) {
    UErrorCode status = U_ZERO_ERROR;
    const std::unique_ptr<UConverter, decltype(&ucnv_close)> converter(ucnv_open(icu_name, &status),
                                                                       ucnv_close);
    if (U_FAILURE(status))
      throw RunError(std::string("ICU lacks the code page ") + icu_name + ": " + u_errorName(status));
    for (std::size_t byte = 0; byte < 256; ++byte)
      characters_[byte] = byte < 0x80 ? static_cast<char32_t>(byte) : decode(converter.get(), byte);
    // Microsoft and IBM disagree on whether code page 437 has the micro sign or the Greek mu; Python follows
    // Microsoft.
    if (std::string_view(icu_name) == "IBM437") characters_[0xE6] = U'\u00B5';
    if (sloppy) characters_[0x1A] = U'\uFFFD';
    for (std::size_t byte = 0; byte < 256; ++byte)
      bytes_.emplace(characters_[byte], static_cast<std::uint8_t>(byte));
  }

  bool sloppy() const { return sloppy_; }
  char32_t decode(std::uint8_t byte) const { return characters_[byte]; }

  /// Nothing when some character is not on the page.
  std::optional<std::string> encode(std::u32string_view text) const {
    std::optional<std::string> result(std::in_place);
    result->reserve(text.size());
    for (const char32_t c : text) {
      const auto byte = bytes_.find(c);
      if (byte == bytes_.end()) return std::nullopt;
      result->push_back(static_cast<char>(byte->second));
    }
    return result;
  }

 private:
  static char32_t decode(UConverter* converter, std::size_t byte) {
    const char source = static_cast<char>(byte);
    UErrorCode status = U_ZERO_ERROR;
    char16_t unit = 0;
    const std::int32_t units = ucnv_toUChars(converter, &unit, 1, &source, 1, &status);
    const bool assigned = units == 1 && unit != u'\uFFFD';
    return assigned ? unit : static_cast<char32_t>(byte);
  }

  bool sloppy_;
  std::array<char32_t, 256> characters_{};
  std::unordered_map<char32_t, std::uint8_t> bytes_;
};

/// In the order in which ftfy tries them.
struct SingleByteEncodings {
  SingleByteEncoding latin_1{"ISO-8859-1", false};
  SingleByteEncoding windows_1252{"windows-1252", true};
  SingleByteEncoding windows_1251{"windows-1251", true};
  SingleByteEncoding windows_1250{"windows-1250", true};
  SingleByteEncoding windows_1253{"windows-1253", true};
  SingleByteEncoding windows_1254{"windows-1254", true};
  SingleByteEncoding windows_1257{"windows-1257", true};
  SingleByteEncoding iso_8859_2{"ISO-8859-2", false};
  SingleByteEncoding mac_roman{"macintosh", false};
  SingleByteEncoding cp437{"IBM437", false};

  std::array<const SingleByteEncoding*, 10> all() const {
    return {&latin_1,      &windows_1252, &windows_1251, &windows_1250, &windows_1253,
            &windows_1254, &windows_1257, &iso_8859_2,   &mac_roman,    &cp437};
  }

  /// Those that look like Latin-1: accented capitals at C0 to DF, small letters at E0 to FF.
  std::array<const SingleByteEncoding*, 7> latin_like() const {
    return {&latin_1,      &windows_1252, &windows_1251, &windows_1250,
            &windows_1253, &windows_1254, &windows_1257};
  }

  static const SingleByteEncodings& get() {
    static const SingleByteEncodings encodings;
    return encodings;
  }
};

}  // namespace reno::text
