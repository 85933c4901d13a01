// Whatever is in the files and prompts, the outcome is tokens or one of reno's own errors. Seeded, so a
// failure can be repeated.
#include <catch2/catch.hpp>
#include <filesystem>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "reference.hpp"
#include "reno/io/mapped_file.hpp"
#include "reno/text/clip_tokenizer.hpp"
#include "reno/text/wordpiece_tokenizer.hpp"
#include "support/temporary_folder.hpp"

using reno::ClipTextStyle;
using reno::ClipTokenizer;
namespace fs = std::filesystem;

namespace {
class Mutator {
 public:
  explicit Mutator(unsigned seed) : random_(seed) {}

  std::size_t below(std::size_t limit) {
    return std::uniform_int_distribution<std::size_t>(0, limit - 1)(random_);
  }

  /// A few bytes changed, removed, inserted or copied from elsewhere.
  std::string mutate(std::string text) {
    static const std::string interesting("\0\n \"{}[]:,0-</w>\xFF&#;", 20);
    for (std::size_t n = 1 + below(4); n > 0; --n) {
      const std::size_t at = below(text.size() + 1);
      switch (below(5)) {
        case 0:
          if (at < text.size()) text[at] = static_cast<char>(below(256));
          break;
        case 1:
          text.erase(at, 1 + below(8));
          break;
        case 2:
          text.insert(at, 1, interesting[below(interesting.size())]);
          break;
        case 3:
          text.insert(at, text.substr(below(text.size() + 1), 1 + below(16)));
          break;
        default:
          if (below(8) == 0) text.resize(at);
      }
    }
    return text;
  }

  std::string soup() {
    static const std::vector<std::string> parts = {"a",
                                                   "cat",
                                                   " ",
                                                   "\n",
                                                   "'s",
                                                   "!",
                                                   "&amp;",
                                                   "&#x",
                                                   "&lt;",
                                                   "<",
                                                   "\xC3",
                                                   "\xA9",
                                                   "é",
                                                   "Ã",
                                                   "©",
                                                   "â€™",
                                                   "ï»¿",
                                                   "\xED\xA0",
                                                   "\xF0\x9F",
                                                   "😀",
                                                   "猫",
                                                   "ﬁ",
                                                   "Ａ",
                                                   "\u0301",
                                                   "\u0345",
                                                   "\x1B[",
                                                   "\x9D",
                                                   "\r",
                                                   "<|endoftext|>",
                                                   "<|START",
                                                   "oftext|>",
                                                   "\xE2\x80",
                                                   "ƒ",
                                                   "Â ",
                                                   "\u2028",
                                                   "İ",
                                                   "Σ",
                                                   "ſ",
                                                   "1",
                                                   "\uFFFD"};
    std::string text;
    for (std::size_t n = below(12); n > 0; --n) text += parts[below(parts.size())];
    return below(9) == 0 ? text + std::string(1, '\0') : text;
  }

 private:
  std::mt19937 random_;
};

std::string content_of(const fs::path& path) { return std::string(reno::MappedFile(path).text()); }
}  // namespace

TEST_CASE("Robustness: random prompts give tokens in every style, all of them in the vocabulary") {
  Mutator mutator(1);
  std::vector<ClipTokenizer> tokenizers;
  const fs::path directory = fs::path(RENO_TEST_DATA) / "goldens/a/generators/sdxl-turbo/model/tokenizer_2";
  for (const auto style : {ClipTextStyle::transformers, ClipTextStyle::transformers_fast,
                           ClipTextStyle::open_clip, ClipTextStyle::openai})
    tokenizers.push_back(ClipTokenizer::from_directory(directory, style));
  const auto wordpiece =
      reno::WordPieceTokenizer::from_file(reno::test::text_data / "wordpiece_vocab.txt", {"[ENC]"});
  const auto check = [](const reno::Tokens& tokens, std::size_t length, std::int64_t size) {
    REQUIRE(tokens.ids.size() == length);
    for (const std::int64_t id : tokens.ids) REQUIRE((id >= 0 && id < size));
  };
  for (int round = 0; round < 3000; ++round) {
    const std::string prompt = mutator.below(2) == 0 ? mutator.soup() : mutator.mutate(mutator.soup());
    INFO("round " << round << ": " << prompt);
    for (const ClipTokenizer& tokenizer : tokenizers) {
      check(tokenizer.encode(prompt), 77, tokenizer.vocabulary_size());
      REQUIRE(tokenizer.encode_text(prompt).size() + 2 >=
              tokenizer.encode(prompt, reno::Padding::none).ids.size());
    }
    check(wordpiece.encode(prompt, 35), 35, wordpiece.vocabulary_size());
    // Cleaning settles: once clean, always clean.
    const std::u32string fixed = reno::text::fix_text(reno::text::decode_utf8(prompt));
    if (prompt.find('<') == std::string::npos && prompt.find('\n') == std::string::npos &&
        fixed.find(U'\n') == std::u32string::npos)
      REQUIRE((fixed.find(U'<') != std::u32string::npos || reno::text::fix_text(fixed) == fixed));
  }
}

TEST_CASE("Robustness: spoiled files load, or fail with a LoadError") {
  Mutator mutator(2);
  const reno::test::TemporaryFolder folder;
  const fs::path original = reno::test::text_data / "generators/b/sd-turbo/model/tokenizer";
  const std::vector<std::string> names = {"vocab.json", "merges.txt", "tokenizer_config.json",
                                          "special_tokens_map.json"};
  std::vector<std::string> contents;
  for (const std::string& name : names) {
    contents.push_back(content_of(original / name));
    reno::test::write(folder.path() / name, contents.back());
  }
  int loaded = 0;
  for (int round = 0; round < 600; ++round) {
    const std::size_t file = static_cast<std::size_t>(round) % names.size();
    reno::test::write(folder.path() / names[file], mutator.mutate(contents[file]));
    INFO("round " << round << ": " << names[file]);
    try {
      const auto style = round % 8 < 4 ? ClipTextStyle::transformers : ClipTextStyle::transformers_fast;
      const auto tokenizer = ClipTokenizer::from_directory(folder.path(), style);
      for (const std::int64_t id : tokenizer.encode("A red dog and a green cat!").ids)
        REQUIRE((id >= 0 && id < tokenizer.vocabulary_size()));
      ++loaded;
    } catch (const reno::LoadError& error) {
      REQUIRE(std::string_view(error.what()).starts_with(folder.path().string()));
    }
    reno::test::write(folder.path() / names[file], contents[file]);
  }
  CHECK(loaded > 0);
  CHECK(loaded < 600);
}

TEST_CASE("Robustness: spoiled tokenizer.json, vocab.txt and merge lists load, or fail with a LoadError") {
  Mutator mutator(3);
  const reno::test::TemporaryFolder folder;
  const fs::path hpsv2 = reno::test::text_data / "hpsv2/bpe_simple_vocab_16e6.txt.gz";
  const std::string gzip = content_of(hpsv2);
  const std::string words = content_of(reno::test::text_data / "wordpiece_vocab.txt");
  int failed = 0;
  const auto attempt = [&](const auto& load) {
    try {
      load();
    } catch (const reno::LoadError&) {
      ++failed;
    }
  };
  for (int round = 0; round < 600; ++round) {
    INFO("round " << round);
    reno::test::write(folder.path() / "bpe_simple_vocab_16e6.txt.gz", mutator.mutate(gzip));
    attempt([&] { ClipTokenizer::from_directory(folder.path(), ClipTextStyle::open_clip).encode("a cat"); });
    reno::test::write(folder.path() / "vocab.txt", mutator.mutate(words));
    attempt([&] { reno::WordPieceTokenizer::from_file(folder.path() / "vocab.txt").encode("a cat", 35); });
  }
  CHECK(failed > 600);
}
