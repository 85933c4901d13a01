#include <catch2/catch.hpp>
#include <random>

#include "reno/experiment/paths.hpp"

using reno::is_utf8;
using reno::safe_file_name;

TEST_CASE("A prompt becomes a file name that people recognise") {
  CHECK(safe_file_name("A red dog and a green cat") == "A red dog and a green cat");
  CHECK(safe_file_name("") == "empty-prompt");
  CHECK(safe_file_name(" \n\t ") == "empty-prompt");
  CHECK(safe_file_name(".") == "_");
  CHECK(safe_file_name("..") == "_");
  CHECK(safe_file_name("../../etc/passwd") == "_._.._etc_passwd");
  CHECK(safe_file_name("a/b\\c:d*e?f\"g<h>i|j") == "a_b_c_d_e_f_g_h_i_j");
  CHECK(safe_file_name("two\nlines\r\nand\tmore") == "two lines and more");
  CHECK(safe_file_name("  a cat.  ") == "a cat");
  CHECK(safe_file_name("a 🐱 in Zürich 👩‍🚀") == "a 🐱 in Zürich 👩‍🚀");
  CHECK(safe_file_name(std::string("a\0b", 3)) == "a b");
  CHECK(safe_file_name("a\x7f\u0085\u2028z") == "a z");
  CHECK(safe_file_name("a\u202Egnp.exe") == "agnp.exe");
  CHECK(safe_file_name("a\xffz") == "a\uFFFDz");
}

TEST_CASE("A long prompt is cut between code points") {
  CHECK(safe_file_name(std::string(500, 'a')) == std::string(150, 'a'));
  CHECK(safe_file_name(std::string(149, 'a') + "🐱") == std::string(149, 'a'));
  CHECK(safe_file_name(std::string(146, 'a') + "🐱🐱") == std::string(146, 'a') + "🐱");
  CHECK(safe_file_name(std::string(149, 'a') + " b") == std::string(149, 'a'));
  CHECK(safe_file_name("abcdefghijklmnopqrst", 16) == "abcdefghijklmnop");
}

TEST_CASE("Any bytes become a safe file name") {
  std::mt19937 random(3);
  const std::string_view often = "./\\ \n:\xC3\xA9\xF0\x9F\x90\xB1";
  for (int round = 0; round < 5000; ++round) {
    std::string prompt;
    const auto length = random() % 40;
    for (std::size_t i = 0; i < length; ++i) {
      prompt += random() % 2 != 0 ? often[random() % often.size()] : static_cast<char>(random());
    }
    const std::string name = safe_file_name(prompt, 20);
    CAPTURE(prompt, name);
    REQUIRE_FALSE(name.empty());
    REQUIRE(name.size() <= 20);
    REQUIRE(is_utf8(name));
    REQUIRE(name.find_first_of("/\\:\n") == std::string::npos);
    REQUIRE(name.front() != '.');
    REQUIRE(name == safe_file_name(prompt, 20));
    REQUIRE(name == safe_file_name(name, 20));
  }
}

TEST_CASE("UTF-8 is told from what is not") {
  CHECK(is_utf8(""));
  CHECK(is_utf8("a 🐱"));
  CHECK_FALSE(is_utf8("\xff"));
  CHECK_FALSE(is_utf8("\xF0\x9F\x90"));
  CHECK_FALSE(is_utf8("\xC0\x80"));
  CHECK_FALSE(is_utf8("\xED\xA0\x80"));
}
