// reno's tokeniser of unigram models against the SentencePiece library, id for id. A program of its own: the
// library cannot be in one process with LibTorch, both export a variable FLAGS_minloglevel.
#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>
#include <string>
#include <unordered_map>
#include <vector>

#include "reno/text/unicode.hpp"
#include "reno/text/unigram_encoder.hpp"

namespace {

namespace fs = std::filesystem;
using Texts = std::vector<std::string>;
using Settings = std::unordered_map<std::string, std::string>;

std::string bytes_of(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

void add_strings(const nlohmann::json& json, Texts& texts) {
  if (json.is_string()) texts.push_back(json);
  if (json.is_structured())
    for (const auto& element : json) add_strings(element, texts);
}

/// Prompts of the tests, and of the benchmarks where those lie beside the checkout.
Texts prompts() {
  Texts texts;
  for (const char* name : {"cleaning.json", "tokenizers.json"})
    add_strings(nlohmann::json::parse(bytes_of(fs::path(RENO_TEST_DATA) / "text" / name)), texts);
  for (const auto& name :
       {"goldens/a/generators/pixart/golden.json", "goldens/a/generators/sd-turbo/golden.json"})
    add_strings(nlohmann::json::parse(bytes_of(fs::path(RENO_TEST_DATA) / name)), texts);
  if (const auto benchmarks = fs::path(RENO_SOURCE_DIR) / "../shared/benchmarks"; fs::exists(benchmarks))
    for (const auto& item : fs::recursive_directory_iterator(benchmarks)) {
      const auto kind = item.path().extension();
      if (kind != ".txt" && kind != ".tsv") continue;
      std::istringstream lines(bytes_of(item.path()));
      for (std::string line; std::getline(lines, line);) texts.push_back(line.substr(0, line.find('\t')));
    }
  for (const char* file :
       {"README.md", "docs/ARCHITECTURE.md", "docs/writing-plugins.md", "CONTRIBUTING.md"}) {
    std::istringstream lines(bytes_of(fs::path(RENO_SOURCE_DIR) / file));
    for (std::string line; std::getline(lines, line);) texts.push_back(line);
  }
  return texts;
}

class Sentences : public sentencepiece::SentenceIterator {
 public:
  explicit Sentences(const Texts& texts) : texts_(texts) {}
  bool done() const override { return next_ >= texts_.size(); }
  void Next() override { ++next_; }
  const std::string& value() const override { return texts_[next_]; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  const Texts& texts_;
  std::size_t next_ = 0;
};

/// A model with T5's layout of pieces that the library trains; `settings` are the trainer's.
std::string trained(std::size_t pieces, const Settings& settings = {}) {
  Settings all = {{"model_type", "unigram"},
                  {"vocab_size", std::to_string(pieces)},
                  {"hard_vocab_limit", "false"},
                  {"pad_id", "0"},
                  {"eos_id", "1"},
                  {"unk_id", "2"},
                  {"bos_id", "-1"},
                  {"num_threads", "2"},
                  {"minloglevel", "2"}};
  for (const auto& [key, value] : settings) all[key] = value;
  static const Texts texts = prompts();
  Sentences sentences(texts);
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(all, &sentences, &model);
  INFO(status.ToString());
  REQUIRE(status.ok());
  return model;
}

/// Texts that nobody would type, valid as UTF-8.
class StrangeTexts {
 public:
  explicit StrangeTexts(const Texts& prompts) : prompts_(prompts) {}

  std::string next() {
    switch (random_(8)) {
      case 0:
        return characters(0x20, 0x7F);
      case 1:
        return characters(0, 0x20) + prompt() + characters(0x7F, 0xA1);  // control characters
      case 2:
        return characters(0xFF00, 0xFFF0);  // full-width and half-width forms
      case 3:
        return characters(0, 0x110000);
      case 4:
        return from_blocks();
      case 5:
        return run();
      case 6:
        return prompt() + characters(0x2000, 0x2070) + prompt();  // spaces and marks
      default:
        return mutated(prompt());
    }
  }

 private:
  std::uint32_t random_(std::uint32_t count) {
    return std::uniform_int_distribution<std::uint32_t>(0, count - 1)(generator_);
  }
  const std::string& prompt() { return prompts_[random_(static_cast<std::uint32_t>(prompts_.size()))]; }

  char32_t character(char32_t first, char32_t end) {
    const char32_t code = first + random_(end - first);
    return code >= 0xD800 && code < 0xE000 ? U' ' : code;
  }
  std::string characters(char32_t first, char32_t end) {
    std::u32string text;
    for (auto left = random_(40); left > 0; --left) text += random_(6) == 0 ? U' ' : character(first, end);
    return reno::text::encode_utf8(text);
  }
  std::string from_blocks() {
    // Latin with marks, combining marks, Hangul letters, ideographs, presentation forms, mathematics, emoji.
    static constexpr char32_t blocks[][2] = {{0xC0, 0x250},      {0x300, 0x370},     {0x1100, 0x1200},
                                             {0x3000, 0x3400},   {0x4E00, 0x5000},   {0xAC00, 0xAD00},
                                             {0xFB00, 0xFE00},   {0x2580, 0x2590},   {0x1D400, 0x1D800},
                                             {0x1F300, 0x1F700}, {0xE0000, 0xE0200}, {0x2100, 0x2200}};
    std::u32string text;
    for (auto left = 1 + random_(40); left > 0; --left) {
      const auto& block = blocks[random_(std::size(blocks))];
      text += character(block[0], block[1]);
    }
    return reno::text::encode_utf8(text);
  }
  std::string run() {
    static const Texts parts = {"a",      " ",          "\u2581",       "ab",   "\u3000",
                                "\u0301", "\U0001F600", "\xEF\xBC\xA1", "the ", "\n"};
    std::string text;
    const auto& part = parts[random_(static_cast<std::uint32_t>(parts.size()))];
    for (auto left = random_(random_(20) == 0 ? 5000 : 200); left > 0; --left) text += part;
    return text;
  }
  std::string mutated(const std::string& text) {
    auto letters = reno::text::decode_utf8(text);
    for (auto left = 1 + random_(5); left > 0 && !letters.empty(); --left) {
      const auto place = random_(static_cast<std::uint32_t>(letters.size()));
      switch (random_(4)) {
        case 0:
          letters.erase(place, 1);
          break;
        case 1:
          letters.insert(place, 1 + random_(3), U' ');
          break;
        case 2:
          letters[place] = character(0, 0x3000);
          break;
        default:
          letters.insert(place, reno::text::decode_utf8(prompt()));
      }
    }
    return reno::text::encode_utf8(letters);
  }

  const Texts& prompts_;
  std::mt19937 generator_{1};
};

/// Whether two ways to cut a text are equally good, up to the rounding of float32: "..." is "." and ".." in
/// both orders. Which one is taken differs between versions of the library: 0.1.97 compares sums before they
/// are rounded to what it stores, 0.2.3 compares them as stored, and so does reno.
bool equally_good(const std::vector<reno::text::SentencePiece>& pieces, const std::vector<int>& first,
                  const std::vector<int>& second) {
  const auto sum = [&](const std::vector<int>& ids) {
    double total = 0;
    for (const int id : ids) total += pieces[static_cast<std::size_t>(id)].score;
    return total;
  };
  const auto unknown = [&](const std::vector<int>& ids) {
    return std::count_if(ids.begin(), ids.end(), [&](int id) {
      return pieces[static_cast<std::size_t>(id)].type == reno::text::PieceType::unknown;
    });
  };
  return unknown(first) == unknown(second) &&
         std::abs(sum(first) - sum(second)) <= 1e-6 * std::abs(sum(first));
}

/// Compares all prompts and `count` strange texts.
void check_model(const std::string& name, const std::string& bytes, int count) {
  sentencepiece::SentencePieceProcessor library;
  REQUIRE(library.LoadFromSerializedProto(bytes).ok());
  const reno::text::UnigramEncoder encoder(reno::text::read_sentencepiece_model(bytes, name));
  REQUIRE(encoder.pieces().size() == static_cast<std::size_t>(library.GetPieceSize()));
  const Texts texts = prompts();
  StrangeTexts strange(texts);
  int compared = 0, ties = 0, differences = 0;
  const auto compare = [&](const std::string& text) {
    std::vector<int> expected;
    REQUIRE(library.Encode(text, &expected).ok());
    const auto ids = encoder.encode(text);
    const std::vector<int> ours(ids.begin(), ids.end());
    ++compared;
    if (ours == expected) return;
    if (equally_good(encoder.pieces(), ours, expected)) {
      ++ties;
    } else if (++differences <= 5) {
      FAIL_CHECK(name << ": other ids for " << nlohmann::json(text).dump() << "\nours   "
                      << nlohmann::json(ours).dump() << "\ntheirs " << nlohmann::json(expected).dump());
    }
  };
  for (const auto& text : texts) compare(text);
  compare("");
  for (int i = 0; i < count; ++i) compare(strange.next());
  CHECK(differences == 0);
  CHECK(ties < compared / 50);
  std::printf("  %s: %d pieces, %d texts, %d of them with a tie that goes the other way\n", name.c_str(),
              library.GetPieceSize(), compared, ties);
}

}  // namespace

TEST_CASE("The ids of a model that the SentencePiece library has trained are the library's") {
  check_model("T5's settings", trained(4000, {{"user_defined_symbols", "<extra>,red circle"}}), 20'000);
}

TEST_CASE("The ids are the library's with other rules for characters and white space") {
  check_model("characters as they are", trained(1500, {{"normalization_rule_name", "identity"}}), 5'000);
  check_model("lower case", trained(1500, {{"normalization_rule_name", "nmt_nfkc_cf"}}), 5'000);
  check_model("white space kept", trained(1500, {{"remove_extra_whitespaces", "false"}}), 5'000);
  check_model("no space in front", trained(1500, {{"add_dummy_prefix", "false"}}), 5'000);
  check_model("few characters", trained(1500, {{"character_coverage", "0.98"}}), 5'000);
}

TEST_CASE("The ids of the reference data's model are the library's") {
  const auto file = fs::path(RENO_TEST_DATA) / "goldens/a/generators/pixart/base/tokenizer/spiece.model";
  check_model("PixArt's", bytes_of(file), 20'000);
}

TEST_CASE("A model that falls back to bytes, as T5's does not, is refused and not misread") {
  const auto bytes = trained(1500, {{"byte_fallback", "true"}});
  CHECK_THROWS_WITH(
      reno::text::read_sentencepiece_model(bytes, "spiece.model"),
      "spiece.model: has byte pieces or white space behind words, which T5's tokenizer has not");
  CHECK_THROWS_WITH(
      reno::text::read_sentencepiece_model(trained(1500, {{"treat_whitespace_as_suffix", "true"}}),
                                           "spiece.model"),
      "spiece.model: has byte pieces or white space behind words, which T5's tokenizer has not");
}
