#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "reference.hpp"
#include "reno/text/byte_pair_encoder.hpp"
#include "reno/text/clip_words.hpp"

using namespace reno::text;
using reno::LoadError;

namespace {
/// A vocabulary of all bytes and these merges.
struct Example {
  explicit Example(const std::string& text)
      : merges(parse_merges("merges.txt", "#version\n" + text)), vocabulary(vocabulary_of(merges, {})) {}

  std::vector<std::string> encode(const std::string& word) const {
    std::vector<std::int64_t> ids;
    BytePairEncoder(vocabulary, merges).encode_word(word, ids);
    std::vector<std::string> pieces;
    for (const std::int64_t id : ids) {
      const auto symbols = byte_symbols();
      std::string piece = "?" + std::to_string(id);
      for (const auto& [left, right] : merges.pairs)
        if (*vocabulary.find(left + right) == id) piece = left + right;
      for (const std::string& symbol : symbols)
        for (const char* end : {"", "</w>"})
          if (*vocabulary.find(symbol + end) == id) piece = symbol + end;
      pieces.push_back(piece);
    }
    return pieces;
  }

  MergeList merges;
  Vocabulary vocabulary;
};
using Pieces = std::vector<std::string>;

void fails(const std::string& merges, const std::string& message) {
  INFO(merges);
  CHECK_THROWS_MATCHES(Example(merges).encode("a"), LoadError, Catch::Matchers::Message(message));
}
}  // namespace

TEST_CASE("Byte symbols: printable bytes stand for themselves, the rest from U+0100 on") {
  const auto symbols = byte_symbols();
  CHECK(symbols['!'] == "!");
  CHECK(symbols[0] == "Ā");
  CHECK(symbols[' '] == "Ġ");
  CHECK(symbols[0xAD] == "Ń");
  CHECK(symbols[0xFF] == "ÿ");
  const Example none("");
  CHECK(*none.vocabulary.find("!") == 0);
  CHECK(*none.vocabulary.find("!</w>") == 256);
  CHECK(none.vocabulary.size() == 512);
}

TEST_CASE("Byte pairs: best rank first, leftmost first, the end of a word is marked") {
  const Example example("l o\nlo w</w>\ne r</w>\nn e\na a");
  CHECK(example.encode("low") == Pieces{"low</w>"});
  CHECK(example.encode("lower") == Pieces{"lo", "w", "er</w>"});
  CHECK(example.encode("aaaa") == Pieces{"aa", "a", "a</w>"});
  CHECK(example.encode("aaaaa") == Pieces{"aa", "aa", "a</w>"});
  CHECK(example.encode("é") == Pieces{"Ã", "©</w>"});
  CHECK(example.encode("") == Pieces{});
}

TEST_CASE("Byte pairs: all places of a pair are merged before pairs that follow from them") {
  // In trained lists a merge stands behind those of its parts. Here "ab c" comes first: the first "ab" must
  // not become "abc" before the second "ab" is made, which would change nothing here, and "b a" must win over
  // "ab a" although it is the worse pair.
  const Example example("ab ab\nab c</w>\na b");
  CHECK(example.encode("abab") == Pieces{"ab", "a", "b</w>"});
  CHECK(example.encode("ababc") == Pieces{"abab", "c</w>"});
  CHECK(example.encode("abc") == Pieces{"abc</w>"});
}

TEST_CASE("Merge lists: malformed lines are named") {
  fails("a b\nc", "merges.txt:3: \"c\" is not a merge; expected two symbols with one space between them");
  fails("a b c", "merges.txt:2: \"a b c\" is not a merge; expected two symbols with one space between them");
  fails("a b\n\nc d", "merges.txt:3: \"\" is not a merge; expected two symbols with one space between them");
  fails(" a", "merges.txt:2: \" a\" is not a merge; expected two symbols with one space between them");
  fails("a \xFF",
        "merges.txt:2: the merge of \"a\" and \"\\ufffd\" needs the token \"\\ufffd\", which merges.txt does "
        "not have");
  fails("a b\nab xyz",
        "merges.txt:3: the merge of \"ab\" and \"xyz\" needs the token \"xyz\", which merges.txt does not "
        "have");
  fails("a b\nb c\na b", "merges.txt:4: the merge of \"a\" and \"b\" gives \"ab\", which is a token already");
  CHECK(parse_merges("merges.txt", "#version\na b\nc d\n").pairs.size() == 2);
  CHECK(parse_merges("merges.txt", "#version\r\na b\r\nc d\r\n\n\n").pairs.back().second == "d");
  CHECK(parse_merges("merges.txt", "#version").pairs.empty());
  CHECK(parse_merges("merges.txt", "").pairs.empty());
}

TEST_CASE("Merge lists: what the vocabulary lacks is named") {
  const MergeList merges = parse_merges("merges.txt", "#version\na b\nb c");
  const Vocabulary bytes = vocabulary_of(parse_merges("v", ""), {"ab"});
  CHECK_THROWS_WITH(
      BytePairEncoder(bytes, merges),
      "merges.txt:3: the merge of \"b\" and \"c\" needs the token \"bc\", which v does not have");
  const MergeList twice = parse_merges("merges.txt", "#version\na b\na b");
  CHECK_THROWS_WITH(BytePairEncoder(bytes, twice),
                    "merges.txt:3: the merge of \"a\" and \"b\" is in merges.txt:2 already");
  CHECK_THROWS_WITH(
      BytePairEncoder(Vocabulary("v", std::vector<std::string>{"!"}), merges),
      Catch::StartsWith("v: the token \"\\u0100\" is missing; a byte-level vocabulary has one for each of"));
}

TEST_CASE("Merge lists in JSON, in both notations") {
  const auto list = nlohmann::json::parse(R"(["a b", ["ab", "c"]])");
  CHECK(merges_of_json("t.json", list).pairs[1] == std::pair<std::string, std::string>("ab", "c"));
  CHECK_THROWS_WITH(merges_of_json("t.json", nlohmann::json::parse(R"(["a b", "ab"])")),
                    "t.json: model.merges[1]: \"\\\"ab\\\"\" is not a merge; expected two symbols with one "
                    "space between them");
  CHECK_THROWS_WITH(merges_of_json("t.json", nlohmann::json(7)),
                    "t.json: model.merges is missing; expected an array of merges");
}

TEST_CASE("Vocabularies: every id once, from 0 on") {
  const auto fails_with = [](const char* json, const std::string& message) {
    CHECK_THROWS_MATCHES(Vocabulary("vocab.json", nlohmann::json::parse(json)), LoadError,
                         Catch::Matchers::Message(message));
  };
  fails_with(R"({"a": 0, "b": -1})",
             "vocab.json: the id of \"b\" is -1; expected an integer from 0 to 1 for 2 tokens");
  fails_with(R"({"a": 0, "b": 2})",
             "vocab.json: the id of \"b\" is 2; expected an integer from 0 to 1 for 2 tokens");
  fails_with(R"({"a": 0, "b": "1"})",
             "vocab.json: the id of \"b\" is \"1\"; expected an integer from 0 to 1 for 2 tokens");
  fails_with(R"({"a": 0, "b": 1.0})",
             "vocab.json: the id of \"b\" is 1.0; expected an integer from 0 to 1 for 2 tokens");
  fails_with(
      R"({"a": 18446744073709551615})",
      "vocab.json: the id of \"a\" is 18446744073709551615; expected an integer from 0 to 0 for 1 tokens");
  fails_with(R"({"a": 1, "b": 1})", "vocab.json: \"a\" and \"b\" have the same id 1");
  fails_with("{}", "vocab.json: is not a vocabulary; expected an object {\"token\": id, ...}");
  CHECK(*Vocabulary("vocab.json", nlohmann::json::parse(R"({"a": 1, "b": 0})")).find("a") == 1);
}

TEST_CASE("Words of CLIP") {
  const auto words = [](std::u32string_view text, WordCase word_case) {
    TokenMatcher specials;
    specials.add(U"<end>", 7);
    std::vector<std::string> result;
    for_each_word(
        text, specials, word_case, [&](std::u32string_view word) { result.push_back(encode_utf8(word)); },
        [&](std::int64_t id) { result.push_back("#" + std::to_string(id)); });
    return result;
  };
  const auto sensitive = [&](std::u32string_view text) { return words(text, WordCase::sensitive); };
  CHECK(sensitive(U"it's they'll we've i'd i'm don't you're 'sx 'x") ==
        std::vector<std::string>{"it", "'s", "they", "'ll", "we", "'ve", "i", "'d", "i", "'m", "don", "'t",
                                 "you", "'re", "'s", "x", "'", "x"});
  CHECK(sensitive(U"a1b22 ½²Ⅷ --ar: (x)") ==
        std::vector<std::string>{"a", "1", "b", "2", "2", "½", "²", "Ⅷ", "--", "ar", ":", "(", "x", ")"});
  CHECK(sensitive(U"x<end>y !<end> <end><end>") ==
        std::vector<std::string>{"x", "#7", "y", "!<", "end", ">", "#7", "#7"});
  CHECK(sensitive(U"a\u0301b \u0345c 'ſ") ==
        std::vector<std::string>{"a", "\u0301", "b", "\u0345", "c", "'", "ſ"});
  CHECK(words(U"a\u0345b 'ſ", WordCase::insensitive) == std::vector<std::string>{"a", "b", "'ſ"});
  CHECK(sensitive(U"") == std::vector<std::string>{});
}
