#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "reference.hpp"
#include "reno/text/wordpiece_tokenizer.hpp"
#include "support/temporary_folder.hpp"

using reno::Padding;
using reno::Tokens;
using reno::WordPieceTokenizer;
using reno::test::text_data;

namespace {
using Ids = std::vector<std::int64_t>;

WordPieceTokenizer load(const std::string& vocabulary) {
  const reno::test::TemporaryFolder folder;
  reno::test::write(folder.path() / "vocab.txt", vocabulary);
  return WordPieceTokenizer::from_file(folder.path() / "vocab.txt", {"[DEC]", "[ENC]"});
}

const std::string specials = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";

std::vector<std::string> words(std::string_view text) {
  std::vector<std::string> result;
  for (const std::u32string& word : reno::text::bert_words(reno::text::decode_utf8(text)))
    result.push_back(reno::text::encode_utf8(word));
  return result;
}
using Words = std::vector<std::string>;
}  // namespace

TEST_CASE("WordPiece: as BertTokenizer with ImageReward's added tokens") {
  const nlohmann::json golden = reno::read_json_object(text_data / "tokenizers.json");
  const auto tokenizer = WordPieceTokenizer::from_file(text_data / "wordpiece_vocab.txt", {"[DEC]", "[ENC]"});
  for (const auto& [token, id] : golden["wordpiece_specials"].items()) CHECK(*tokenizer.find(token) == id);
  CHECK(tokenizer.vocabulary_size() == 201);
  REQUIRE(golden["rows"].size() == 204);
  for (const auto& row : golden["rows"]) {
    const auto text = row["text"].get<std::string>();
    INFO(text);
    Ids pieces;
    for (const auto& piece : row["wordpiece"]) pieces.push_back(*tokenizer.find(piece.get<std::string>()));
    CHECK(tokenizer.encode_text(text) == pieces);
    const Tokens tokens = tokenizer.encode(text, 35);
    CHECK(tokens.ids == row["wordpiece_35"].get<Ids>());
    CHECK(tokens.attention_mask() == row["wordpiece_35_mask"].get<Ids>());
    CHECK(tokens.dropped == (pieces.size() > 33 ? pieces.size() - 33 : 0));
  }
}

TEST_CASE("WordPiece: words") {
  CHECK(words("It's a Café, naïve  ÅNGSTRÖM!") ==
        Words{"it", "'", "s", "a", "cafe", ",", "naive", "angstrom", "!"});
  CHECK(words("猫と犬 x一y") == Words{"猫", "と", "犬", "x", "一", "y"});
  CHECK(words("ΣΊΣ İ ß") == Words{"σισ", "i", "ß"});
  CHECK(words(std::string_view("a\0b\u200Bc\x7F\uFFFD d\u00A0e\u2028f", 20)) == Words{"abc", "d", "e", "f"});
  CHECK(words("a\u0301\u0302$^`“x”—y") == Words{"a", "$", "^", "`", "“", "x", "”", "—", "y"});
  CHECK(words("\u0301 ") == Words{});
}

TEST_CASE("WordPiece: longest piece first; a word with an unknown part is unknown as a whole") {
  const auto tokenizer = load(specials + "un\n##aff\n##able\nunaff\n##a\na\n猫\nx\n##x\n");
  const auto encode = [&](const std::string& text) { return tokenizer.encode(text, 8, Padding::none).ids; };
  CHECK(encode("unaffable") == Ids{2, 8, 7, 3});
  CHECK(encode("una unb a") == Ids{2, 5, 9, 1, 10, 3});
  CHECK(encode("猫a") == Ids{2, 11, 10, 3});
  CHECK(encode(std::string(100, 'x')).size() == 8);
  CHECK(encode(std::string(101, 'x')) == Ids{2, 1, 3});
  CHECK(encode("[SEP][sep] [ENC]") == Ids{2, 3, 1, 1, 1, 15, 3});
  CHECK(encode("") == Ids{2, 3});
  CHECK(tokenizer.encode("a", 2).ids == Ids{2, 3});
  CHECK(tokenizer.encode("a a", 3).dropped == 1);
  CHECK_THROWS_AS(tokenizer.encode("a", 1), reno::ConfigurationError);
}

TEST_CASE("WordPiece: long prompts take linear time") {
  const auto tokenizer = load(specials + "x\n##x\n");
  std::string text;
  while (text.size() < 1'000'000) text += std::string(100, 'x') + ' ';
  CHECK(tokenizer.encode(text, 35).dropped == 990'100 - 33);
  CHECK(tokenizer.encode(std::string(1'000'000, '!'), 35).dropped == 1'000'000 - 33);
}

TEST_CASE("WordPiece: malformed vocabularies are named with their line") {
  const auto fails = [](const std::string& vocabulary, const std::string& message) {
    CHECK_THROWS_WITH(load(vocabulary), Catch::EndsWith("vocab.txt:" + message));
  };
  fails(specials + "a\n\nb\n", "7: is empty; expected one token per line");
  fails(specials + "a\nb\na\n", "8: \"a\" is in line 6 already");
  fails(specials + "a\xFF\n", "6: \"a\\ufffd\" is not UTF-8");
  fails("[PAD]\n[UNK]\n[CLS]\n[MASK]\n", " lacks [SEP]; expected the vocabulary of a BERT model");
  fails("\n", "1: is empty; expected one token per line");
  CHECK(load("[PAD]\r\n[UNK]\r\n[CLS]\r\n[SEP]\r\n[MASK]\r\na").encode("a", 3).ids == Ids{2, 5, 3});
  CHECK_THROWS_AS(WordPieceTokenizer::from_file("/nowhere/vocab.txt"), reno::LoadError);
}
