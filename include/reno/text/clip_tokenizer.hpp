// The tokenisers of CLIP text encoders, id for id as the Python libraries apply them: clean the text, cut it
// into words, encode each by byte pairs, put start and end around, cut and pad to 77. The libraries differ in
// the cleaning and in the special tokens; see ClipTextStyle. (Radford et al. 2021; transformers'
// CLIPTokenizer and CLIPTokenizerFast, open_clip's and OpenAI's SimpleTokenizer.)
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "reno/error.hpp"
#include "reno/text/byte_pair_encoder.hpp"
#include "reno/text/clip_words.hpp"
#include "reno/text/fix_text.hpp"
#include "reno/text/merges.hpp"
#include "reno/text/token_matcher.hpp"
#include "reno/text/tokenizer_settings.hpp"
#include "reno/text/tokens.hpp"
#include "reno/text/unescape_html.hpp"
#include "reno/text/unicode.hpp"
#include "reno/text/vocabulary.hpp"

namespace reno {

/// Whose tokeniser.
enum class ClipTextStyle {
  transformers,       ///< transformers' CLIPTokenizer with ftfy installed: the generators' text encoders
  transformers_fast,  ///< transformers' CLIPTokenizerFast: NFC, white space, lower case and no ftfy;
                      ///< CLIPScore and PickScore
  open_clip,          ///< open_clip's: ftfy, then HTML unescaped twice; <start_of_text>, padded with 0; HPSv2
  openai,             ///< OpenAI's clip package: as open_clip, but <|startoftext|>
};

/// Immutable after construction; `encode` may be called from several threads.
class ClipTokenizer {
 public:
  /// Reads a tokeniser's directory.
  /// - transformers: vocab.json and merges.txt, or tokenizer.json if they are missing; the other style the
  /// other way round.
  /// - open_clip and openai: merges.txt or bpe_simple_vocab_16e6.txt(.gz), from which the vocabulary follows.
  /// `max_length` overrides the length limit of the files (77 where they have none).
  /// Throws LoadError if files are missing, malformed or contradict each other.
  static ClipTokenizer from_directory(const std::filesystem::path& directory, ClipTextStyle style,
                                      std::optional<std::int64_t> max_length = std::nullopt) {
    const bool simple = style == ClipTextStyle::open_clip || style == ClipTextStyle::openai;
    ClipTokenizer tokenizer = simple ? read_simple(directory, style) : read_transformers(directory, style);
    if (max_length) tokenizer.max_length_ = *max_length;
    if (tokenizer.max_length_ < 2)
      throw ConfigurationError("a CLIP tokenizer's max_length is " + std::to_string(tokenizer.max_length_) +
                               "; expected at least 2, for the start and the end");
    return tokenizer;
  }

  /// Start, at most `max_length` - 2 tokens of the prompt, end, and padding. `prompt` is UTF-8; bytes that
  /// are not become U+FFFD. Throws ConfigurationError for a prompt that is made to defeat the cleaning (see
  /// text::RepairBudget).
  Tokens encode(std::string_view prompt, Padding padding = Padding::max_length) const {
    Tokens tokens = frame(encode_text(prompt), start_id_, end_id_, static_cast<std::size_t>(max_length_));
    if (padding == Padding::max_length) pad(tokens, static_cast<std::size_t>(max_length_), pad_id_);
    return tokens;
  }

  /// The prompt's own tokens: no start, no end, no limit.
  std::vector<std::int64_t> encode_text(std::string_view prompt) const {
    const std::u32string text = text::decode_utf8(prompt);
    std::vector<std::int64_t> ids;
    const auto append_id = [&](std::int64_t id) { ids.push_back(id); };
    const auto append_words = [&](std::u32string_view clean) { encode_words(clean, ids); };
    raw_tokens_.split(
        text,
        [&](std::u32string_view part) {
          const std::u32string clean = cleaned(part);
          clean_tokens_.split(clean, append_words, append_id);
        },
        append_id);
    return ids;
  }

  /// A prompt as the words are cut from it; a special token that the style looks for beforehand is cleaned
  /// like text.
  std::u32string cleaned(std::u32string_view text) const {
    using namespace text;
    switch (style_) {
      case ClipTextStyle::transformers:
        return to_lower(strip(collapse_white_space(fix_text(text))));
      case ClipTextStyle::transformers_fast:
        return to_lower_each(collapse_white_space(to_nfc(text)));
      default:
        return to_lower(strip(collapse_white_space(strip(unescape_html(unescape_html(fix_text(text)))))));
    }
  }

  std::int64_t start_id() const { return start_id_; }
  std::int64_t end_id() const { return end_id_; }
  std::int64_t pad_id() const { return pad_id_; }
  std::int64_t max_length() const { return max_length_; }

  /// Every id is smaller: the number of rows that a token embedding needs.
  std::int64_t vocabulary_size() const { return vocabulary_size_; }

 private:
  ClipTokenizer(ClipTextStyle style, const text::Vocabulary& vocabulary, const text::MergeList& merges)
      : style_(style), encoder_(vocabulary, merges), vocabulary_size_(vocabulary.size()) {}

  static bool exists(const std::filesystem::path& path) {
    std::error_code ignored;
    return std::filesystem::exists(path, ignored);
  }

  static ClipTokenizer read_simple(const std::filesystem::path& directory, ClipTextStyle style) {
    for (const char* name : {"merges.txt", "bpe_simple_vocab_16e6.txt.gz", "bpe_simple_vocab_16e6.txt"}) {
      if (!exists(directory / name)) continue;
      const bool open_clip = style == ClipTextStyle::open_clip;
      const std::vector<std::string> specials = {open_clip ? "<start_of_text>" : "<|startoftext|>",
                                                 open_clip ? "<end_of_text>" : "<|endoftext|>"};
      const text::MergeList merges = text::read_merges(directory / name);
      const text::Vocabulary vocabulary = text::vocabulary_of(merges, specials);
      ClipTokenizer tokenizer(style, vocabulary, merges);
      tokenizer.start_id_ = *vocabulary.find(specials[0]);
      tokenizer.end_id_ = *vocabulary.find(specials[1]);
      tokenizer.pad_id_ = 0;
      for (const std::string& special : specials)
        tokenizer.word_tokens_.add(text::decode_utf8(special), *vocabulary.find(special));
      return tokenizer;
    }
    throw LoadError(
        directory.string() +
        ": has neither merges.txt nor bpe_simple_vocab_16e6.txt.gz, the merge list of CLIP's tokenizer");
  }

  static ClipTokenizer read_transformers(const std::filesystem::path& directory, ClipTextStyle style) {
    const bool fast = style == ClipTextStyle::transformers_fast;
    const std::filesystem::path vocab_file = directory / "vocab.json";
    const std::filesystem::path merges_file = directory / "merges.txt";
    const std::filesystem::path fast_file = directory / "tokenizer.json";
    const bool two_files = exists(vocab_file) && exists(merges_file);
    if (!two_files && !exists(fast_file))
      throw LoadError(
          directory.string() +
          ": has neither vocab.json and merges.txt nor tokenizer.json; expected a CLIP tokenizer");
    if (two_files && !(fast && exists(fast_file)))
      return with_settings(directory, style,
                           text::Vocabulary(vocab_file.string(), read_json_object(vocab_file)),
                           text::read_merges(merges_file));
    const nlohmann::json json = read_json_object(fast_file);
    const nlohmann::json& model = checked_model(fast_file.string(), json);
    return with_settings(directory, style,
                         text::Vocabulary(fast_file.string(), model.value("vocab", nlohmann::json())),
                         text::merges_of_json(fast_file.string(), model.value("merges", nlohmann::json())));
  }

  /// A tokenizer.json can describe any tokeniser; this one must be CLIP's.
  static const nlohmann::json& checked_model(const std::string& file, const nlohmann::json& json) {
    using Pointer = nlohmann::json::json_pointer;
    const std::pair<const char*, nlohmann::json> expected[] = {
        {"/model/type", "BPE"},
        {"/model/end_of_word_suffix", "</w>"},
        {"/normalizer/normalizers/0/type", "NFC"},
        {"/normalizer/normalizers/1/type", "Replace"},
        {"/normalizer/normalizers/2/type", "Lowercase"},
        {"/pre_tokenizer/pretokenizers/0/type", "Split"},
        {"/pre_tokenizer/pretokenizers/1/type", "ByteLevel"}};
    for (const auto& [path, value] : expected) {
      const Pointer pointer(path);
      const nlohmann::json found = json.contains(pointer) ? json.at(pointer) : nlohmann::json();
      if (found != value)
        throw LoadError(file + ": is not CLIP's tokenizer: " + path + " is " + text::shown(found) +
                        ", expected " + text::shown(value));
    }
    return json.at("model");
  }

  static ClipTokenizer with_settings(const std::filesystem::path& directory, ClipTextStyle style,
                                     const text::Vocabulary& vocabulary, const text::MergeList& merges) {
    const bool fast = style == ClipTextStyle::transformers_fast;
    const text::TokenizerSettings settings = text::read_tokenizer_settings(directory, vocabulary, fast);
    ClipTokenizer tokenizer(style, vocabulary, merges);
    tokenizer.start_id_ = settings.start.id;
    tokenizer.end_id_ = settings.end.id;
    tokenizer.pad_id_ = settings.pad.id;
    tokenizer.max_length_ = settings.max_length;
    for (const text::AddedToken& token : settings.added) {
      const std::u32string content = text::decode_utf8(token.content);
      tokenizer.vocabulary_size_ = std::max(tokenizer.vocabulary_size_, token.id + 1);
      if (fast && token.normalized) {
        tokenizer.clean_tokens_.add(tokenizer.cleaned(content), token.id);
      } else {
        tokenizer.raw_tokens_.add(content, token.id);
      }
      // The slow tokeniser finds these two once more in the clean text, so also when they were written in
      // capitals.
      if (!fast && (token.content == "<|startoftext|>" || token.content == "<|endoftext|>"))
        tokenizer.word_tokens_.add(content, token.id);
    }
    return tokenizer;
  }

  void encode_words(std::u32string_view clean, std::vector<std::int64_t>& ids) const {
    const auto word_case =
        style_ == ClipTextStyle::transformers_fast ? text::WordCase::sensitive : text::WordCase::insensitive;
    text::for_each_word(
        clean, word_tokens_, word_case,
        [&](std::u32string_view word) { encoder_.encode_word(text::encode_utf8(word), ids); },
        [&](std::int64_t id) { ids.push_back(id); });
  }

  ClipTextStyle style_;
  text::BytePairEncoder encoder_;
  text::TokenMatcher raw_tokens_;    ///< found in the text as it stands
  text::TokenMatcher clean_tokens_;  ///< found in the cleaned text
  text::TokenMatcher word_tokens_;   ///< found where a word may begin
  std::int64_t start_id_ = 0;
  std::int64_t end_id_ = 0;
  std::int64_t pad_id_ = 0;
  std::int64_t max_length_ = 77;
  std::int64_t vocabulary_size_ = 0;
};

}  // namespace reno
