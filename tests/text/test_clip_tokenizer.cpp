#include <catch2/catch.hpp>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "reference.hpp"
#include "reno/text/clip_tokenizer.hpp"
#include "support/temporary_folder.hpp"

using reno::ClipTextStyle;
using reno::ClipTokenizer;
using reno::LoadError;
using reno::Padding;
using reno::Tokens;
using reno::test::text_data;
namespace fs = std::filesystem;

namespace {
using Ids = std::vector<std::int64_t>;

const fs::path full = text_data / "clip_full";

/// Every prompt of one tokeniser of one golden.json, padded and not.
void check_generator(const fs::path& directory, const nlohmann::json& prompts,
                     const nlohmann::json& expected) {
  INFO(directory);
  const auto tokenizer = ClipTokenizer::from_directory(directory, ClipTextStyle::transformers);
  CHECK(tokenizer.start_id() == expected["bos"]);
  CHECK(tokenizer.end_id() == expected["eos"]);
  CHECK(tokenizer.pad_id() == expected["pad"]);
  CHECK(tokenizer.max_length() == expected["max_length"]);
  CHECK(tokenizer.vocabulary_size() == expected["vocab_size"]);
  REQUIRE(expected["prompts"].size() == prompts.size());
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    const auto text = prompts[i]["text"].get<std::string>();
    const nlohmann::json& row = expected["prompts"][i];
    INFO(text);
    const Tokens tokens = tokenizer.encode(text);
    CHECK(tokens.ids == row["ids"].get<Ids>());
    auto untruncated = tokenizer.encode_text(text);
    untruncated.insert(untruncated.begin(), tokenizer.start_id());
    untruncated.push_back(tokenizer.end_id());
    CHECK(untruncated == row["untruncated"].get<Ids>());
    CHECK(tokens.dropped == (untruncated.size() > 77 ? untruncated.size() - 77 : 0));
    CHECK(tokens.length == std::min<std::size_t>(untruncated.size(), 77));
  }
}

/// All tokenisers of CLIP's kind in a folder of reference data; returns how many.
int check_generator(const fs::path& folder) {
  int checked = 0;
  const nlohmann::json golden = reno::read_json_object(folder / "golden.json");
  for (const auto& [name, expected] : golden["tokens"].items()) {
    if (expected["kind"] != "clip") continue;
    const fs::path directory = fs::exists(folder / "base") ? folder / "base" / name : folder / "model" / name;
    check_generator(directory, golden["prompts"], expected);
    ++checked;
  }
  return checked;
}
}  // namespace

TEST_CASE("CLIP: the generators' tokenisers, newer layout and both pad tokens") {
  CHECK(check_generator(fs::path(RENO_TEST_DATA) / "goldens/a/generators/sdxl-turbo") == 2);
}

TEST_CASE("CLIP: the generators' tokenisers, older layout") {
  CHECK(check_generator(text_data / "generators/b/sd-turbo") == 1);
}

TEST_CASE("CLIP: the generators' tokenisers, complete presets") {
  int checked = 0;
  for (const fs::path& folder : reno::test::complete_generators()) checked += check_generator(folder);
  if (checked > 0) CHECK(checked == 12);
}

TEST_CASE("CLIP: four libraries on the full vocabulary") {
  const nlohmann::json golden = reno::read_json_object(text_data / "tokenizers.json");
  const auto slow = ClipTokenizer::from_directory(full, ClipTextStyle::transformers);
  const auto fast = ClipTokenizer::from_directory(full, ClipTextStyle::transformers_fast);
  const auto open_clip = ClipTokenizer::from_directory(full, ClipTextStyle::open_clip);
  const auto openai = ClipTokenizer::from_directory(full, ClipTextStyle::openai);
  CHECK(slow.vocabulary_size() == 49408);
  CHECK(open_clip.vocabulary_size() == 49408);
  CHECK(open_clip.pad_id() == 0);
  REQUIRE(golden["rows"].size() == 204);
  for (const auto& row : golden["rows"]) {
    const auto text = row["text"].get<std::string>();
    INFO(text);
    CHECK(slow.encode(text, Padding::none).ids == row["hf_slow"].get<Ids>());
    CHECK(fast.encode(text, Padding::none).ids == row["hf_fast"].get<Ids>());
    CHECK(open_clip.encode(text).ids == row["open_clip_77"].get<Ids>());
    CHECK(open_clip.encode_text(text) == row["open_clip"].get<Ids>());
    CHECK(openai.encode_text(text) == row["openai"].get<Ids>());
    CHECK(reno::text::encode_utf8(open_clip.cleaned(reno::text::decode_utf8(text))) ==
          row["open_clip_cleaned"].get<std::string>());
  }
  std::vector<Tokens> batch;
  for (const auto& text : golden["padding"]["texts"])
    batch.push_back(fast.encode(text.get<std::string>(), Padding::none));
  reno::pad_to_longest(batch, fast.pad_id());
  for (std::size_t i = 0; i < batch.size(); ++i) {
    CHECK(batch[i].ids == golden["padding"]["input_ids"][i].get<Ids>());
    CHECK(batch[i].attention_mask() == golden["padding"]["attention_mask"][i].get<Ids>());
  }
}

TEST_CASE("CLIP: special tokens in the prompt") {
  const auto slow = ClipTokenizer::from_directory(full, ClipTextStyle::transformers);
  const auto fast = ClipTokenizer::from_directory(full, ClipTextStyle::transformers_fast);
  const Ids both = {49406, 49406, 320, 49407, 49407};
  CHECK(slow.encode("<|STARTOFTEXT|> a<|endoftext|>", Padding::none).ids == both);
  CHECK(fast.encode("<|STARTOFTEXT|> a<|endoftext|>", Padding::none).ids == both);
  CHECK(slow.encode_text("&lt;|endoftext|&gt; x") == Ids{49407, 343});
  CHECK(fast.encode_text("&lt;|endoftext|&gt; x").size() == 11);
  CHECK(slow.encode_text("'ſx") == Ids{6, 129, 379, 343});
  CHECK(fast.encode_text("'ſx") == Ids{262, 129, 123, 343});
}

TEST_CASE("CLIP: prompts of any kind") {
  const auto slow = ClipTokenizer::from_directory(full, ClipTextStyle::transformers);
  CHECK(slow.encode("", Padding::none).ids == Ids{49406, 49407});
  CHECK(slow.encode(std::string("a\0b", 3), Padding::none).ids == slow.encode("ab", Padding::none).ids);
  CHECK(slow.encode("a \xFF\xFE b", Padding::none).ids == slow.encode("a \uFFFD\uFFFD b", Padding::none).ids);
  std::string text;
  while (text.size() < 1'000'000) text += "a caf\u00E9 & a cat, ";
  const Tokens tokens = slow.encode(text);
  CHECK(tokens.ids.size() == 77);
  CHECK(tokens.ids.back() == 49407);
  CHECK(tokens.truncated());
  CHECK(slow.encode(std::string(1'000'000, 'x')).dropped > 100'000);
}

TEST_CASE("CLIP: open_clip's gzipped merge list") {
  const auto tokenizer = ClipTokenizer::from_directory(text_data / "hpsv2", ClipTextStyle::open_clip, 16);
  CHECK(tokenizer.vocabulary_size() == 934);
  CHECK(tokenizer.encode("a cat").ids == Ids{932, 320, 66, 536, 933, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
  CHECK(tokenizer.encode("<END_OF_TEXT> a").ids[1] == 933);
}

TEST_CASE("CLIP: the tokenisers of the shapes world") {
  const fs::path shapes = fs::path(RENO_SOURCE_DIR) / "examples/shapes";
  const char* prompt = "a photo of a red circle above a blue square";
  // As transformers' CLIPTokenizer reads both.
  const Ids ids = {601, 320, 560, 552, 320, 570, 530, 515, 320, 525, 579, 602};
  const auto generator =
      ClipTokenizer::from_directory(shapes / "generator/tokenizer", ClipTextStyle::transformers);
  CHECK(generator.encode(prompt, Padding::none).ids == ids);
  const auto clip = ClipTokenizer::from_directory(shapes / "rewards/clip", ClipTextStyle::transformers_fast);
  CHECK(clip.encode(prompt, Padding::none).ids == ids);
}

namespace {
/// A directory that a test may spoil: two merges, newer layout.
struct Directory {
  Directory() {
    const auto merges = reno::text::parse_merges("", "#version: 0.2\nc a\nca t</w>\n");
    const auto vocabulary = reno::text::vocabulary_of(merges, {"<|startoftext|>", "<|endoftext|>"});
    for (std::size_t byte = 0; byte < 256; ++byte)
      for (const char* end : {"", "</w>"}) {
        const std::string token = reno::text::byte_symbols()[byte] + end;
        vocab[token] = *vocabulary.find(token);
      }
    for (const char* token : {"ca", "cat</w>", "<|startoftext|>", "<|endoftext|>"})
      vocab[token] = *vocabulary.find(token);
    config = nlohmann::json::parse(R"({"added_tokens_decoder": {
        "514": {"content": "<|startoftext|>", "normalized": true, "special": true, "lstrip": false},
        "515": {"content": "<|endoftext|>", "normalized": true, "special": true}},
      "bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>", "model_max_length": 8})");
    fast = nlohmann::json::parse(
        R"({"added_tokens": [], "model": {"type": "BPE", "end_of_word_suffix": "</w>", "merges": ["c a", "ca t</w>"]},
      "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Replace"}, {"type": "Lowercase"}]},
      "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Split"}, {"type": "ByteLevel"}]}})");
    fast["model"]["vocab"] = vocab;
    for (const char* token : {"<|startoftext|>", "<|endoftext|>"})
      fast["added_tokens"].push_back({{"id", vocab[token]}, {"content", token}, {"normalized", true}});
    write_json("vocab.json", vocab);
    write("merges.txt", "#version: 0.2\nc a\nca t</w>\n");
    write_json("tokenizer_config.json", config);
  }

  void write(const std::string& name, const std::string& content) const {
    reno::test::write(folder.path() / name, content);
  }
  void write_json(const std::string& name, const nlohmann::json& json) const { write(name, json.dump()); }
  void remove(const std::string& name) const { fs::remove(folder.path() / name); }
  ClipTokenizer load(ClipTextStyle style = ClipTextStyle::transformers) const {
    return ClipTokenizer::from_directory(folder.path(), style);
  }
  Ids encode(const std::string& text, ClipTextStyle style = ClipTextStyle::transformers) const {
    return load(style).encode_text(text);
  }

  /// Loading fails with "<directory>/<file><message>".
  void fails(const std::string& file_and_message, ClipTextStyle style = ClipTextStyle::transformers) const {
    INFO(file_and_message);
    const auto name = (folder.path() / "").string();
    try {
      load(style);
      FAIL("loads");
    } catch (const LoadError& error) {
      std::string message = error.what();
      for (std::size_t at; (at = message.find(name)) != std::string::npos;) message.erase(at, name.size());
      CHECK(message == file_and_message);
    }
  }

  reno::test::TemporaryFolder folder;
  nlohmann::json vocab = nlohmann::json::object();
  nlohmann::json config;
  nlohmann::json fast;
};
}  // namespace

TEST_CASE("CLIP directories: vocab.json and merges.txt alone, tokenizer.json alone") {
  Directory directory;
  CHECK(directory.load().encode("cat!").ids == Ids{514, 513, 256, 515, 515, 515, 515, 515});
  directory.remove("tokenizer_config.json");
  CHECK(directory.load().max_length() == 77);
  CHECK(directory.load().pad_id() == 515);
  directory.write_json("tokenizer.json", directory.fast);
  directory.remove("vocab.json");
  for (const auto style : {ClipTextStyle::transformers, ClipTextStyle::transformers_fast})
    CHECK(directory.encode("A cat<|ENDOFTEXT|>!", style) == Ids{320, 513, 515, 256});
}

TEST_CASE(
    "CLIP directories: the pad token is an added token; special_tokens_map.json counts in the older layout "
    "only") {
  Directory directory;
  directory.write_json("special_tokens_map.json", {{"pad_token", "!"}});
  CHECK(directory.load().pad_id() == 515);
  CHECK(directory.encode("cat!!") == Ids{513, 0, 256});
  directory.config.erase("added_tokens_decoder");
  directory.write_json("tokenizer_config.json", directory.config);
  CHECK(directory.load().pad_id() == 0);
  CHECK(directory.encode("cat!!") == Ids{513, 0, 0});
  CHECK(directory.encode("c!at<|ENDOFTEXT|>") == Ids{322, 0, 64, 339, 515});
  directory.write_json("added_tokens.json", {{"<sks>", 516}});
  CHECK(directory.encode("<SKS>").size() == 5);
  CHECK(directory.load().vocabulary_size() == 517);
  CHECK(directory.encode("a <sks>cat") == Ids{320, 516, 513});
  CHECK(directory.encode("a <SKS>cat", ClipTextStyle::transformers_fast) == Ids{320, 516, 513});
  directory.write_json("special_tokens_map.json",
                       {{"pad_token", {{"content", "!"}}}, {"additional_special_tokens", {"cat</w>"}}});
  CHECK(directory.encode("cat</w>!") == Ids{513, 0});
}

TEST_CASE("CLIP directories: the fast tokeniser's flags come from tokenizer.json") {
  Directory directory;
  directory.fast["added_tokens"][1]["normalized"] = false;
  directory.write_json("tokenizer.json", directory.fast);
  CHECK(directory.encode("<|endoftext|>", ClipTextStyle::transformers_fast) == Ids{515});
  CHECK(directory.encode("<|ENDOFTEXT|>", ClipTextStyle::transformers_fast).size() > 1);
  CHECK(directory.encode("<|ENDOFTEXT|>", ClipTextStyle::transformers) == Ids{515});
}

TEST_CASE("CLIP directories: what is missing or malformed is named") {
  Directory directory;
  SECTION("nothing there") {
    directory.remove("vocab.json");
    CHECK_THROWS_WITH(
        directory.load(),
        Catch::EndsWith(
            ": has neither vocab.json and merges.txt nor tokenizer.json; expected a CLIP tokenizer"));
    directory.remove("merges.txt");
    CHECK_THROWS_WITH(
        directory.load(ClipTextStyle::open_clip),
        Catch::EndsWith(
            ": has neither merges.txt nor bpe_simple_vocab_16e6.txt.gz, the merge list of CLIP's tokenizer"));
  }
  SECTION("not JSON") {
    directory.write("vocab.json", "{\"a\": 0,\n\"b\": }");
    directory.fails("vocab.json:2:6: is not valid JSON: syntax error");
  }
  SECTION("not an object") {
    directory.write("vocab.json", "[1, 2]");
    directory.fails("vocab.json: expected a JSON object, got array");
  }
  SECTION("a key twice") {
    directory.write("vocab.json", "{\"a\": 0, \"a\": 1}");
    directory.fails("vocab.json: key \"a\" appears twice");
  }
  SECTION("an id out of range") {
    directory.vocab["ca"] = 100000;
    directory.write_json("vocab.json", directory.vocab);
    directory.fails(
        "vocab.json: the id of \"ca\" is 100000; expected an integer from 0 to 515 for 516 tokens");
  }
  SECTION("a byte missing") {
    directory.vocab.erase("\"</w>");
    directory.vocab["new"] = 257;
    directory.write_json("vocab.json", directory.vocab);
    directory.fails(
        "vocab.json: the token \"\\\"</w>\" is missing; a byte-level vocabulary has one for each of the 256 "
        "bytes, with and "
        "without \"</w>\"");
  }
  SECTION("a merge without a token") {
    directory.write("merges.txt", "#version: 0.2\nc a\nca t</w>\nd o\n");
    directory.fails(
        "merges.txt:4: the merge of \"d\" and \"o\" needs the token \"do\", which vocab.json does not have");
  }
  SECTION("not a merge") {
    directory.write("merges.txt", "#version: 0.2\nc a t\n");
    directory.fails(
        "merges.txt:2: \"c a t\" is not a merge; expected two symbols with one space between them");
  }
  SECTION("a special token without an id") {
    directory.config["pad_token"] = "<pad>";
    directory.write_json("tokenizer_config.json", directory.config);
    directory.fails(
        "tokenizer_config.json: pad_token is \"<pad>\", which is neither in vocab.json nor among the added "
        "tokens");
  }
  SECTION("no start token") {
    directory.vocab.erase("<|startoftext|>");
    directory.vocab["other"] = 514;
    directory.write_json("vocab.json", directory.vocab);
    directory.fails(
        "tokenizer_config.json: the added token \"<|startoftext|>\" has the id 514, but vocab.json has "
        "another token there");
    directory.remove("tokenizer_config.json");
    directory.fails(
        "tokenizer_config.json: bos_token is \"<|startoftext|>\", which is neither in vocab.json nor among "
        "the added tokens");
  }
  SECTION("a special token of the wrong kind") {
    directory.config["eos_token"] = 7;
    directory.write_json("tokenizer_config.json", directory.config);
    directory.fails("tokenizer_config.json: eos_token: expected a token, or an object with \"content\"");
  }
  SECTION("added tokens that contradict the vocabulary or each other") {
    auto& decoder = directory.config["added_tokens_decoder"];
    const auto fails_with = [&](const nlohmann::json& changed, const std::string& message) {
      nlohmann::json config = directory.config;
      config["added_tokens_decoder"].update(changed);
      directory.write_json("tokenizer_config.json", config);
      directory.fails("tokenizer_config.json: " + message);
    };
    fails_with({{"0", decoder["514"]}},
               "the added token \"<|startoftext|>\" has the id 0, but vocab.json gives it 514");
    fails_with({{"600", {{"content", "<x>"}}}, {"601", {{"content", "<x>"}}}},
               "the added token \"<x>\" has two ids, 600 and 601");
    fails_with({{"x", {{"content", "<x>"}}}}, "added_tokens_decoder: \"x\" is not an id");
    fails_with({{"9999999999", {{"content", "<x>"}}}},
               "the id of the added token \"<x>\" is 9999999999; expected an integer from 0 to 2147483647");
    fails_with({{"600", {{"content", "<x>"}, {"lstrip", true}}}},
               "the added token \"<x>\" has lstrip set, which CLIP's tokens have not");
    fails_with({{"600", {{"content", ""}}}}, "an added token is empty");
    fails_with({{"600", "<x>"}}, "added_tokens_decoder.600: expected an object with \"content\"");
    directory.config["added_tokens_decoder"] = "none";
    directory.write_json("tokenizer_config.json", directory.config);
    directory.fails(
        "tokenizer_config.json: added_tokens_decoder: expected an object {\"id\": {\"content\": ...}, ...}");
  }
  SECTION("the same id twice in added_tokens.json") {
    directory.config.erase("added_tokens_decoder");
    directory.write_json("tokenizer_config.json", directory.config);
    directory.write_json("added_tokens.json", {{"<x>", 516}, {"<y>", 516}});
    directory.fails("added_tokens.json: the added tokens \"<x>\" and \"<y>\" have the same id 516");
    directory.write_json("added_tokens.json", {{"<x>", "516"}});
    directory.fails(
        "added_tokens.json: the id of the added token \"<x>\" is \"516\"; expected an integer from 0 to "
        "2147483647");
  }
  SECTION("lengths") {
    directory.config["model_max_length"] = 1;
    directory.write_json("tokenizer_config.json", directory.config);
    directory.fails("tokenizer_config.json: model_max_length is 1; expected at least 2");
    directory.config["model_max_length"] = 1e30;
    directory.write_json("tokenizer_config.json", directory.config);
    CHECK(directory.load().max_length() == 77);
    CHECK_THROWS_AS(ClipTokenizer::from_directory(directory.folder.path(), ClipTextStyle::transformers, 1),
                    reno::ConfigurationError);
    CHECK(ClipTokenizer::from_directory(directory.folder.path(), ClipTextStyle::transformers, 2)
              .encode("a cat")
              .ids == Ids{514, 515});
  }
  SECTION("padding on the left") {
    directory.config["padding_side"] = "left";
    directory.write_json("tokenizer_config.json", directory.config);
    directory.fails("tokenizer_config.json: padding_side is \"left\"; CLIP pads and cuts on the right");
  }
  SECTION("another tokeniser's tokenizer.json") {
    directory.remove("merges.txt");
    directory.fast["model"]["type"] = "Unigram";
    directory.write_json("tokenizer.json", directory.fast);
    directory.fails("tokenizer.json: is not CLIP's tokenizer: /model/type is \"Unigram\", expected \"BPE\"");
    directory.write("tokenizer.json", "{\"normalizer\": [1]}");
    directory.fails("tokenizer.json: is not CLIP's tokenizer: /model/type is null, expected \"BPE\"");
  }
  SECTION("a damaged gzip file") {
    directory.remove("merges.txt");
    directory.write("bpe_simple_vocab_16e6.txt.gz", "\x1F\x8B\x08 and nothing more that is sensible");
    directory.fails("bpe_simple_vocab_16e6.txt.gz: is not a gzip file, or damaged", ClipTextStyle::open_clip);
  }
}
