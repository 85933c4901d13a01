// T5's tokenizer against transformers', and what it does with files that are not T5's.
#include <spdlog/sinks/ostream_sink.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "reference.hpp"
#include "reno/text/encode_prompts.hpp"
#include "reno/text/t5_tokenizer.hpp"
#include "support/golden.hpp"
#include "support/temporary_folder.hpp"

using namespace reno;
using Catch::Contains;
namespace fs = std::filesystem;

namespace {

using Ids = std::vector<std::int64_t>;

const fs::path published = fs::path(RENO_TEST_DATA) / "goldens/a/generators/pixart/base/tokenizer";

std::string bytes_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// A directory with that spiece.model alone.
struct ModelFolder {
  test::TemporaryFolder folder;
  explicit ModelFolder(const std::string& model) { test::write(folder.path() / "spiece.model", model); }
  T5Tokenizer load() const { return T5Tokenizer::from_directory(folder.path(), 16); }
};

std::string varint(std::uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
  return bytes + static_cast<char>(value);
}
std::string field(std::uint64_t number, const std::string& content) {
  return varint(number << 3 | 2) + varint(content.size()) + content;
}
std::string field(std::uint64_t number, std::uint64_t value) { return varint(number << 3) + varint(value); }

enum PieceType { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };
std::string piece(const std::string& text, PieceType type = normal, float score = 0) {
  std::string bits(4, '\0');
  std::memcpy(bits.data(), &score, 4);
  return field(1, field(1, text) + varint(2 << 3 | 5) + bits + field(3, type));
}
std::string special_pieces() {
  return piece("<pad>", control) + piece("</s>", control) + piece("<unk>", unknown);
}
std::string sections(const std::string& charsmap = "", std::uint64_t type = 1) {
  return field(2, field(3, type)) + field(3, charsmap.empty() ? "" : field(2, charsmap));
}

std::string charsmap_of(const std::vector<std::uint32_t>& units, const std::string& strings) {
  const auto size = static_cast<std::uint32_t>(4 * units.size());
  std::string bytes(4 + size, '\0');
  std::memcpy(bytes.data(), &size, 4);
  std::memcpy(bytes.data() + 4, units.data(), size);
  return bytes + strings;
}

/// A trie in which every byte of "aaa…" is a match, `matches` times.
std::string nested_charsmap(std::size_t matches) {
  std::vector<std::uint32_t> units(256 * (matches + 2), 0x80000000U);
  units[0] = 256 << 10;
  for (std::size_t i = 1; i <= matches; ++i) {
    const std::size_t node = 256 * i ^ 'a';
    units[node] = static_cast<std::uint32_t>((node ^ (256 * (i + 1))) << 10 | 0x100 | 'a');
  }
  return charsmap_of(units, std::string("b\0", 2));
}

}  // namespace

TEST_CASE("T5's token ids agree with transformers'", "[text][t5]") {
  for (const char* name : {"pixart", "flux-schnell"}) {
    const bool flux = std::string(name) == "flux-schnell";
    for (const char* preset : {"a", "a (complete)", "b"}) {
      const bool inside = std::string(preset) == "a";
      const auto root =
          inside ? fs::path(RENO_TEST_DATA) / "goldens" : fs::path(RENO_SOURCE_DIR) / "../shared/goldens";
      const auto folder = root / std::string(1, preset[0]) / "generators" / name;
      if (!fs::exists(folder)) {
        WARN("skipped: " << name << ", preset " << preset << ", which is not beside the checkout");
        continue;
      }
      INFO(folder);
      const auto golden = read_json_object(folder / "golden.json");
      const auto& reference = golden["tokens"][flux ? "tokenizer_2" : "tokenizer"];
      const auto tokenizer =
          T5Tokenizer::from_directory(folder / (flux ? "model/tokenizer_2" : "base/tokenizer"),
                                      reference["max_length"].get<std::int64_t>());
      CHECK(tokenizer.max_length() == (flux ? 256 : 120));
      for (std::size_t i = 0; i < golden["prompts"].size(); ++i) {
        std::string prompt = golden["prompts"][i]["text"];
        if (reference["lower_and_strip_first"])
          prompt = text::encode_utf8(text::strip(text::to_lower(text::decode_utf8(prompt))));
        INFO(prompt);
        const auto& expected = reference["prompts"][i];
        const auto tokens = tokenizer.encode(prompt);
        CHECK(tokens.ids == expected["ids"].get<Ids>());
        CHECK(tokens.length == expected["length"].get<std::size_t>());
        auto untruncated = tokenizer.encode_text(prompt);
        untruncated.push_back(tokenizer.end_id());
        CHECK(untruncated == expected["untruncated"].get<Ids>());
        CHECK(tokens.dropped == untruncated.size() - tokens.length);
        const auto mask = tokens.attention_mask();
        CHECK(static_cast<std::size_t>(std::count(mask.begin(), mask.end(), 1)) == tokens.length);
      }
    }
  }
}

TEST_CASE("T5's tokenizer: special tokens without a tokenizer_config.json are the same", "[text][t5]") {
  const test::TemporaryFolder folder;
  fs::copy(published / "spiece.model", folder.path());
  const auto with_file = T5Tokenizer::from_directory(published, 16);
  const auto without = T5Tokenizer::from_directory(folder.path(), 16);
  CHECK(with_file.vocabulary_size() == 349);
  CHECK(without.vocabulary_size() == 349);
  const std::string prompt = "a <extra_id_0> <pad> cat</s><unk>dog <extra_id_99> <extra_id_100>";
  CHECK(with_file.encode_text(prompt) == without.encode_text(prompt));
  CHECK(without.encode_text("<extra_id_0><extra_id_99>") == Ids{348, 249});
  test::write(folder.path() / "tokenizer_config.json", R"({"extra_ids": 2})");
  CHECK(T5Tokenizer::from_directory(folder.path(), 16).encode_text("<extra_id_1>") == Ids{249});
}

TEST_CASE("T5's tokenizer says what it cuts from a prompt that is too long", "[text][t5]") {
  std::ostringstream said;
  const auto log =
      std::make_shared<spdlog::logger>("t", std::make_shared<spdlog::sinks::ostream_sink_st>(said));
  const auto tokenizer = T5Tokenizer::from_directory(published, 8);
  const auto ids = encode_prompts(tokenizer, {"a cat", "a red dog and a green cat by the river"}, log);
  CHECK(ids[0].size() == 8);
  CHECK(ids[1].size() == 8);
  CHECK(ids[1].back() == tokenizer.end_id());
  CHECK_THAT(said.str(), Contains("takes 7 tokens") && Contains("by the river\""));
}

TEST_CASE("T5's tokenizer refuses what is not a model of T5, in one sentence", "[text][t5]") {
  const auto good = bytes_of(published / "spiece.model");
  const auto complaint = [](const std::string& model) {
    const ModelFolder folder(model);
    try {
      folder.load();
    } catch (const LoadError& error) {
      const std::string said = error.what();
      CHECK(said.find('\n') == std::string::npos);
      CHECK_THAT(said, Contains("spiece.model: "));
      return said;
    }
    return std::string("no complaint");
  };
  CHECK_THROWS_WITH(T5Tokenizer::from_directory(fs::path(RENO_TEST_DATA) / "nowhere", 16),
                    Contains("spiece.model: cannot be opened"));
  CHECK_THAT(complaint("{}"), Contains("is not a SentencePiece model"));
  CHECK_THAT(complaint(good.substr(0, good.size() - 1)), Contains("is the download complete?"));
  CHECK_THAT(complaint(good.substr(0, 3000)), Contains("is the download complete?"));
  CHECK_THAT(complaint(special_pieces() + piece("a")), Contains("is the download complete?"));
  CHECK_THAT(complaint(special_pieces() + piece("a") + sections("", 2)), Contains("of another type"));
  CHECK_THAT(complaint(piece("<unk>", unknown) + piece("a") + sections()), Contains("has no piece \"</s>\""));
  CHECK_THAT(complaint(special_pieces() + piece("a") + piece("a") + sections()),
             Contains("has the piece \"a\" twice"));
  CHECK_THAT(complaint(special_pieces() + sections()), Contains("has no pieces of text"));
  CHECK_THAT(complaint(special_pieces() + piece("") + sections()), Contains("has an empty piece, number 3"));
  CHECK_THAT(complaint(special_pieces() + piece("?", unknown) + piece("a") + sections()),
             Contains("has two pieces for what is unknown"));
  CHECK_THAT(complaint(special_pieces() + piece("<0x0A>", byte) + piece("a") + sections()),
             Contains("has byte pieces"));

  CHECK(complaint(special_pieces() + piece("a") + sections()) == "no complaint");
  CHECK(complaint(good) == "no complaint");
}

TEST_CASE("T5's tokenizer refuses rules for characters that point outside of themselves", "[text][t5]") {
  const auto load = [](const std::string& charsmap) {
    return ModelFolder(special_pieces() + piece("b") + piece("\u2581") + sections(charsmap)).load();
  };
  const auto damaged = Contains("precompiled_charsmap");
  SECTION("sound ones are applied, the longest rule first") {
    CHECK(load(nested_charsmap(32)).encode_text("aaaa") == load("").encode_text("b"));
    CHECK(load(nested_charsmap(2)).encode_text("aaaa") == load("").encode_text("bb"));
  }
  SECTION("deeper than any character") { CHECK_THROWS_WITH(load(nested_charsmap(65)), damaged); }
  SECTION("a string behind the end") {
    auto charsmap = nested_charsmap(1);
    const std::uint32_t far = 0x80000000U | 1'000'000;
    std::memcpy(charsmap.data() + 4 + 4 * 512, &far, 4);
    CHECK_THROWS_WITH(load(charsmap), damaged);
  }
  SECTION("strings without an end") {
    auto charsmap = nested_charsmap(1);
    charsmap.back() = 'b';
    CHECK_THROWS_WITH(load(charsmap), damaged);
  }
  SECTION("children behind the end") {
    std::vector<std::uint32_t> units(256, 0x80000000U);
    units[0] = 0x1FFFFF << 10 | 0x200;
    CHECK_THROWS_WITH(load(charsmap_of(units, std::string(1, '\0'))), damaged);
  }
  SECTION("a node that is its own descendant") {
    std::vector<std::uint32_t> units(512, 0x80000000U);
    units[0] = 256 << 10;
    units[256 ^ 'a'] = static_cast<std::uint32_t>('a' << 10 | 'a');
    CHECK_THROWS_WITH(load(charsmap_of(units, std::string(1, '\0'))), damaged);
  }
  SECTION("sizes that do not fit") {
    CHECK_THROWS_WITH(load(std::string(3, '\1')), damaged);
    CHECK_THROWS_WITH(load(std::string(64, '\xFF')), damaged);
  }
}

TEST_CASE("T5's tokenizer: pieces are chosen by the sum of their scores", "[text][t5]") {
  const std::string space = "\u2581";
  const std::string pieces = special_pieces() + piece(space, normal, -1) + piece("a", normal, -2) +
                             piece("b", normal, -2) + piece("ab", normal, -5) + piece("bc", normal, -1) +
                             piece("c", normal, -2) + piece("abab", unused, 9) +
                             piece("a\u0301", user_defined);
  const auto ids = [&](const std::string& normalizer, const std::string& prompt) {
    return ModelFolder(pieces + field(2, "") + field(3, normalizer)).load().encode_text(prompt);
  };
  CHECK(ids("", "abc") == Ids{3, 4, 7});         // a bc: -3, ab c: -7, a b c: -6
  CHECK(ids("", "abab") == Ids{3, 4, 5, 4, 5});  // what is unused is not used
  CHECK(ids("", "xy zz") == Ids{3, 2, 3, 2});    // unknown neighbours are one
  CHECK(ids("", "a\u0301") == Ids{3, 10});       // what users define is taken
  CHECK(ids("", "  a  b ") == Ids{3, 4, 3, 5});  // white space is one, and none at the ends
  CHECK(ids("", "   ").empty());
  CHECK(ids(field(3, 0), "a b") == Ids{4, 3, 5});  // no space in front
  CHECK(ids(field(4, 0), " a  b ") == Ids{3, 3, 4, 3, 3, 5, 3});
  CHECK(ids(field(5, 0), "a b") == Ids{2, 4, 2, 5});  // spaces stay spaces, for which there is no piece
}

TEST_CASE("T5's tokenizer: sums of scores are rounded as the library rounds them", "[text][t5]") {
  // Three dots are cut as 1 + 2 or 2 + 1, whose sums differ in exact arithmetic only.
  const auto tokenizer = T5Tokenizer::from_directory(published, 16);
  CHECK(tokenizer.encode_text("re\u00BD ri+C\u2026\u201Dq") ==
        Ids{72, 206, 2, 141, 128, 214, 223, 195, 229, 2, 212});
}

TEST_CASE("T5's tokenizer refuses settings that contradict the model", "[text][t5]") {
  const test::TemporaryFolder folder;
  fs::copy(published / "spiece.model", folder.path());
  const auto load = [&](const std::string& decoder) {
    test::write(folder.path() / "tokenizer_config.json", R"({"added_tokens_decoder": )" + decoder + "}");
    return T5Tokenizer::from_directory(folder.path(), 16);
  };
  CHECK_THROWS_WITH(load(R"({"7": {"content": "<extra_id_0>"}})"), Contains("has the id 7, but"));
  CHECK_THROWS_WITH(load(R"({"x": {"content": "<extra_id_0>"}})"), Contains("is not an id"));
  CHECK_THROWS_WITH(load(R"({"300": {}})"), Contains("content") && Contains("is missing"));
  CHECK_THROWS_WITH(load(R"({"300": {"content": ""}})"), Contains("is empty"));
  CHECK_THROWS_WITH(load(R"({"300": {"content": "x", "normalized": true}})"), Contains("normalized"));
  CHECK_THROWS_WITH(load("[]"), Contains("expected an object"));
}

TEST_CASE("T5's tokenizer survives damaged models: tokens or an error", "[text][t5]") {
  const auto good = bytes_of(published / "spiece.model");
  std::mt19937 random(7);
  const auto below = [&](std::size_t limit) {
    return std::uniform_int_distribution<std::size_t>(0, limit - 1)(random);
  };
  int loaded = 0, refused = 0;
  for (int i = 0; i < 60; ++i) {
    std::string model = good;
    for (std::size_t n = 1 + below(6); n > 0; --n) {
      // Half of the damage in the pieces at the front, which are few bytes.
      const std::size_t at = below(2) == 0 ? below(3000) : below(model.size());
      model[at] = static_cast<char>(below(256));
    }
    const ModelFolder folder(model);
    try {
      const auto tokenizer = folder.load();
      for (const char* prompt :
           {"a red dog \u2014 \uFB01 \uFF21\uFF22 caf\u0065\u0301", "\xFF\xFE \u65E5\u672C", ""})
        for (const auto id : tokenizer.encode(prompt).ids) CHECK(id < tokenizer.vocabulary_size());
      ++loaded;
    } catch (const LoadError& error) {
      CHECK_THAT(error.what(), Contains("spiece.model"));
      ++refused;
    }
  }
  CHECK(loaded > 0);
  CHECK(refused > 0);
}
