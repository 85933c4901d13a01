#include <catch2/catch.hpp>
#include <string>

#include "reno/text/unicode.hpp"

using namespace reno::text;

TEST_CASE("UTF-8 that is not valid becomes U+FFFD, as many times as in Python") {
  CHECK(decode_utf8("a\xC3\xA9") == U"aé");
  CHECK(decode_utf8(std::string("a\0b", 3)) == std::u32string(U"a\0b", 3));
  CHECK(decode_utf8("") == U"");
  CHECK(decode_utf8("\xFF\xFE") == U"\uFFFD\uFFFD");
  CHECK(decode_utf8("\xE2\x80") == U"\uFFFD");  // a truncated sequence counts once
  CHECK(decode_utf8("\xE2\x80x") == U"\uFFFDx");
  CHECK(decode_utf8("\xF0\x9F\x98") == U"\uFFFD");
  CHECK(decode_utf8("\xED\xA0\x80") == U"\uFFFD\uFFFD\uFFFD");  // a surrogate
  CHECK(decode_utf8("\xC0\x80") == U"\uFFFD\uFFFD");            // overlong
  CHECK(decode_utf8("\xF4\x90\x80\x80") == U"\uFFFD\uFFFD\uFFFD\uFFFD");
  CHECK_FALSE(decode_utf8_strict("a\xE2\x80"));
  CHECK(decode_utf8_strict("\xF0\x9F\x98\x80") == U"😀");
}

TEST_CASE("UTF-8 round trip of the borders of each length") {
  const std::u32string text = {1, 0x7F, 0x80, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFF, 0x10000, 0x10FFFF};
  CHECK(decode_utf8_strict(encode_utf8(text)) == text);
}

TEST_CASE("Letter case as Python's str") {
  CHECK(to_lower(U"ABC xyz 1") == U"abc xyz 1");
  CHECK(to_lower(U"ΣΊΣΥΦΟΣ ΟΣ.") == U"σίσυφος ος.");
  CHECK(to_lower_each(U"ΣΊΣΥΦΟΣ") == U"σίσυφοσ");
  CHECK(to_lower(U"\u0130") == U"i\u0307");
  CHECK(to_lower_each(U"\u0130X") == U"i\u0307x");
  CHECK(to_upper(U"straße ǆ") == U"STRASSE Ǆ");
}

TEST_CASE("White space") {
  CHECK(collapse_white_space(U" a\t\n b\u00A0\u3000c ") == U" a b c ");
  CHECK(strip(U"\u2003\x1F a b\x1C\n") == U"a b");
  CHECK(strip(U" \n") == U"");
  CHECK(is_white_space(U'\u0085'));
  CHECK_FALSE(is_white_space(U'\x1C'));
  CHECK(is_python_space(U'\x1C'));
  CHECK_FALSE(is_python_space(U'\u200B'));
}

TEST_CASE("A letter with a thousand accents is refused: sorting them would take quadratic time") {
  const std::u32string accents(1000, U'\u0301');
  CHECK(to_nfc(U"e" + accents).size() == 1000);
  CHECK_THROWS_AS(to_nfc(U"e\u0323" + accents), reno::ConfigurationError);
}
