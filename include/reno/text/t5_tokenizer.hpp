// T5's tokenizer (Raffel et al. 2020), id for id as transformers' T5Tokenizer: text is cut into the pieces of
// a SentencePiece model, special tokens are found beforehand, </s> ends the prompt, <pad> fills it up.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "reno/error.hpp"
#include "reno/io/config.hpp"
#include "reno/io/mapped_file.hpp"
#include "reno/text/token_matcher.hpp"
#include "reno/text/tokens.hpp"
#include "reno/text/unicode.hpp"
#include "reno/text/unigram_encoder.hpp"
#include "reno/text/vocabulary.hpp"

namespace reno {

/// Immutable after construction; `encode` may be called from several threads.
class T5Tokenizer {
 public:
  /// Reads spiece.model and, if it is there, tokenizer_config.json. `max_length` is the pipeline's: 120 for
  /// PixArt, 256 for FLUX.1 schnell. Throws LoadError if files are missing, malformed or contradict each
  /// other.
  static T5Tokenizer from_directory(const std::filesystem::path& directory, std::int64_t max_length) {
    return T5Tokenizer(directory, max_length);
  }

  /// At most `max_length` - 1 tokens of the prompt, the end, and padding. `prompt` is UTF-8; bytes that are
  /// not become U+FFFD.
  Tokens encode(std::string_view prompt, Padding padding = Padding::max_length) const {
    Tokens tokens;
    tokens.ids = encode_text(prompt);
    const auto limit = static_cast<std::size_t>(max_length_);
    const std::size_t kept = std::min(tokens.ids.size(), limit - 1);
    tokens.dropped = tokens.ids.size() - kept;
    tokens.ids.resize(kept);
    tokens.ids.push_back(end_id_);
    tokens.length = tokens.ids.size();
    if (padding == Padding::max_length) pad(tokens, limit, pad_id_);
    return tokens;
  }

  /// The prompt's own tokens: no end, no limit.
  std::vector<std::int64_t> encode_text(std::string_view prompt) const {
    std::vector<std::int64_t> ids;
    specials_.split(
        text::decode_utf8(prompt), [&](std::u32string_view part) { encode_part(part, ids); },
        [&](std::int64_t id) { ids.push_back(id); });
    return ids;
  }

  std::int64_t end_id() const { return end_id_; }
  std::int64_t pad_id() const { return pad_id_; }
  std::int64_t max_length() const { return max_length_; }

  /// Every id is smaller: the number of rows that a token embedding needs.
  std::int64_t vocabulary_size() const { return vocabulary_size_; }

 private:
  T5Tokenizer(const std::filesystem::path& directory, std::int64_t max_length)
      : model_file_((directory / "spiece.model").string()), max_length_(max_length) {
    if (max_length < 1) throw ConfigurationError("a T5 tokenizer's max_length is less than 1, for the end");
    load_model();
    end_id_ = piece("</s>");
    pad_id_ = piece("<pad>");
    std::error_code none;
    const auto config_file = directory / "tokenizer_config.json";
    const auto config = std::filesystem::exists(config_file, none)
                            ? Config::read(config_file)
                            : Config::parse("{}", config_file.string());
    if (config.has("added_tokens_decoder"))
      add_decoder(config);
    else
      add_sentinels(config.get<std::int64_t>("extra_ids", 100, bounds{0, 10'000}));
  }

  void load_model() {
    const MappedFile file(model_file_);
    encoder_ = std::make_shared<const text::UnigramEncoder>(
        text::read_sentencepiece_model(text::tokenizer_text(file), model_file_));
    vocabulary_size_ = static_cast<std::int64_t>(encoder_->pieces().size());
  }

  /// The id of a piece that must be there.
  std::int64_t piece(const char* name) const {
    const auto& pieces = encoder_->pieces();
    const auto found = std::ranges::find(pieces, name, &text::SentencePiece::text);
    if (found == pieces.end())
      throw LoadError(model_file_ + ": has no piece " + in_quotes(name) + ", which every T5 model has");
    return found - pieces.begin();
  }

  void add_special(const std::string& content, std::int64_t id, const std::string& file) {
    const auto& pieces = encoder_->pieces();
    if (content.empty()) throw LoadError(file + ": an added token is empty");
    const auto index = static_cast<std::size_t>(id);
    if (index < pieces.size() && pieces[index].text != content)
      throw LoadError(file + ": the added token " + in_quotes(content) + " has the id " + std::to_string(id) +
                      ", but " + model_file_ + " has " + in_quotes(pieces[index].text) + " there");
    specials_.add(text::decode_utf8(content), id);
    vocabulary_size_ = std::max(vocabulary_size_, id + 1);
  }

  /// The newer layout: the file lists every special token. White space around them need not be stripped
  /// (lstrip, rstrip): SentencePiece ignores it at the ends of a text.
  void add_decoder(const Config& config) {
    const auto decoder = config.section("added_tokens_decoder");
    for (const auto& [key, token] : decoder.json().items()) {
      const std::string file = decoder.where(key);
      if (key.empty() || key.size() > 9 || key.find_first_not_of("0123456789") != std::string::npos)
        throw LoadError(file + ": is not an id");
      const auto entry = decoder.section(key);
      if (entry.get<bool>("single_word", false) || entry.get<bool>("normalized", false))
        throw LoadError(file + ": has single_word or normalized set, which T5's tokens have not");
      add_special(entry.get<std::string>("content"), std::stoll(key), file);
    }
  }

  /// The older layout: the sentinels <extra_id_0>, <extra_id_1>, … come last, counted from the end.
  void add_sentinels(std::int64_t count) {
    for (const char* name : {"<pad>", "</s>"}) add_special(name, piece(name), model_file_);
    const auto unknown = encoder_->unknown_id();
    add_special(encoder_->pieces()[static_cast<std::size_t>(unknown)].text, unknown, model_file_);
    const auto size = static_cast<std::int64_t>(encoder_->pieces().size()) + count;
    for (std::int64_t i = 0; i < count; ++i)
      add_special("<extra_id_" + std::to_string(i) + ">", size - 1 - i, model_file_);
  }

  void encode_part(std::u32string_view part, std::vector<std::int64_t>& ids) const {
    const auto pieces = encoder_->encode(text::encode_utf8(part));
    ids.insert(ids.end(), pieces.begin(), pieces.end());
  }

  std::string model_file_;
  std::shared_ptr<const text::UnigramEncoder> encoder_;
  text::TokenMatcher specials_;
  std::int64_t max_length_;
  std::int64_t end_id_ = 0;
  std::int64_t pad_id_ = 0;
  std::int64_t vocabulary_size_ = 0;
};

}  // namespace reno
