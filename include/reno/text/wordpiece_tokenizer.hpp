// BERT's uncased WordPiece tokeniser as transformers' BertTokenizer applies it: lower case, no accents, words
// split at punctuation and around every Chinese character, then the longest known piece first (Devlin et al.
// 2019). ImageReward encodes its prompts with it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "reno/error.hpp"
#include "reno/io/json_file.hpp"
#include "reno/io/mapped_file.hpp"
#include "reno/text/token_matcher.hpp"
#include "reno/text/tokens.hpp"
#include "reno/text/unicode.hpp"
#include "reno/text/vocabulary.hpp"

namespace reno {

namespace text {

/// One token per line; the first has the id 0. Throws LoadError with the line that is empty, not UTF-8 or a
/// repetition.
inline std::vector<std::string> read_vocabulary_lines(const std::filesystem::path& path) {
  const MappedFile file(path);
  std::string_view text = tokenizer_text(file);
  if (text.ends_with('\n')) text.remove_suffix(1);
  std::vector<std::string> tokens;
  std::unordered_map<std::string_view, std::size_t> lines;
  for (bool last = false; !last;) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    last = end == text.size();
    std::string_view token = text.substr(0, end);
    text.remove_prefix(last ? end : end + 1);
    if (token.ends_with('\r')) token.remove_suffix(1);
    const std::string place = path.string() + ':' + std::to_string(tokens.size() + 1);
    if (token.empty()) throw LoadError(place + ": is empty; expected one token per line");
    if (!decode_utf8_strict(token)) throw LoadError(place + ": " + in_quotes(token) + " is not UTF-8");
    const auto [known, is_new] = lines.try_emplace(token, tokens.size() + 1);
    if (!is_new)
      throw LoadError(place + ": " + in_quotes(token) + " is in line " + std::to_string(known->second) +
                      " already");
    tokens.emplace_back(token);
  }
  return tokens;
}

namespace detail {

inline bool is_chinese(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
         (c >= 0x2A700 && c <= 0x2CEAF) || (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

/// Everything on an English keyboard that is neither letter nor digit, and Unicode's punctuation.
inline bool is_bert_punctuation(char32_t c) {
  if (c < 0x80) return c > 0x20 && c < 0x7F && !is_letter(c) && !is_number(c);
  return (U_GET_GC_MASK(static_cast<UChar32>(c)) & U_GC_P_MASK) != 0;
}

/// Controls, and what has no character at all, disappear; white space becomes a space; Chinese characters get
/// spaces around them.
inline std::u32string space_out(std::u32string_view text) {
  std::u32string result;
  result.reserve(text.size());
  for (const char32_t c : text) {
    const auto categories = U_GET_GC_MASK(static_cast<UChar32>(c));
    if (c == U'\t' || c == U'\n' || c == U'\r' || (categories & U_GC_ZS_MASK) != 0) {
      result.push_back(U' ');
    } else if (c == U'\uFFFD' || (categories & U_GC_C_MASK) != 0) {
      continue;
    } else if (is_chinese(c)) {
      result += {U' ', c, U' '};
    } else {
      result.push_back(c);
    }
  }
  return result;
}

}  // namespace detail

/// The words of a prompt in BERT's sense: lower-case, without accents, every punctuation character for
/// itself.
inline std::vector<std::u32string> bert_words(std::u32string_view text) {
  std::u32string clean = to_nfd(to_nfc(detail::space_out(to_lower_each(text))));
  std::erase_if(clean, [](char32_t c) { return u_charType(static_cast<UChar32>(c)) == U_NON_SPACING_MARK; });
  std::vector<std::u32string> words;
  bool continues = false;
  for (const char32_t c : clean) {
    const bool space = is_python_space(c);
    const bool punctuation = detail::is_bert_punctuation(c);
    if (space || punctuation || !continues) words.emplace_back();
    if (space) words.pop_back();
    if (!space) words.back().push_back(c);
    continues = !space && !punctuation;
  }
  return words;
}

}  // namespace text

/// Immutable after construction; `encode` may be called from several threads.
class WordPieceTokenizer {
 public:
  /// Reads vocab.txt, one token per line. `more_specials` are looked for in prompts like [SEP]; those that
  /// the file lacks get the next ids (ImageReward adds [DEC] and [ENC]). Throws LoadError if the file is
  /// malformed or lacks one of BERT's own special tokens.
  static WordPieceTokenizer from_file(const std::filesystem::path& vocabulary,
                                      const std::vector<std::string>& more_specials = {}) {
    return WordPieceTokenizer(vocabulary.string(), text::read_vocabulary_lines(vocabulary), more_specials);
  }

  /// [CLS], at most `max_length` - 2 tokens of the prompt, [SEP], and padding. `prompt` is UTF-8; bytes that
  /// are not disappear.
  Tokens encode(std::string_view prompt, std::size_t max_length,
                Padding padding = Padding::max_length) const {
    if (max_length < 2)
      throw ConfigurationError("a WordPiece tokenizer's max_length is below 2: no room for [CLS] and [SEP]");
    Tokens tokens = frame(encode_text(prompt), start_id_, end_id_, max_length);
    if (padding == Padding::max_length) pad(tokens, max_length, pad_id_);
    return tokens;
  }

  /// The prompt's own tokens: no [CLS], no [SEP], no limit.
  std::vector<std::int64_t> encode_text(std::string_view prompt) const {
    std::vector<std::int64_t> ids;
    specials_.split(
        text::decode_utf8(prompt),
        [&](std::u32string_view part) {
          for (const std::u32string& word : text::bert_words(part)) encode_word(word, ids);
        },
        [&](std::int64_t id) { ids.push_back(id); });
    return ids;
  }

  std::int64_t start_id() const { return start_id_; }
  std::int64_t end_id() const { return end_id_; }
  std::int64_t pad_id() const { return pad_id_; }

  /// Every id is smaller: the number of rows that a token embedding needs.
  std::int64_t vocabulary_size() const { return size_; }

  /// Null when there is no such token; pieces inside a word begin with "##".
  const std::int64_t* find(std::string_view token) const {
    const auto& pieces = token.starts_with("##") ? inner_ : first_;
    const auto found = pieces.find(token.starts_with("##") ? token.substr(2) : token);
    return found == pieces.end() ? nullptr : &found->second;
  }

 private:
  using Pieces = std::unordered_map<std::string, std::int64_t, text::StringHash, std::equal_to<>>;

  WordPieceTokenizer(const std::string& file, const std::vector<std::string>& tokens,
                     const std::vector<std::string>& more_specials) {
    for (const std::string& token : tokens) add(token);
    for (const char* special : {"[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"}) {
      if (!find(special))
        throw LoadError(file + ": lacks " + special + "; expected the vocabulary of a BERT model");
      add_special(special);
    }
    unknown_id_ = *find("[UNK]");
    start_id_ = *find("[CLS]");
    end_id_ = *find("[SEP]");
    pad_id_ = *find("[PAD]");
    for (const std::string& special : more_specials) {
      if (!find(special)) add(special);
      add_special(special);
    }
  }

  void add(const std::string& token) {
    const bool inner = token.starts_with("##");
    const std::string piece = token.substr(inner ? 2 : 0);
    (inner ? inner_ : first_).emplace(piece, size_++);
    longest_ = std::max(longest_, piece.size());
  }

  void add_special(const std::string& token) { specials_.add(text::decode_utf8(token), *find(token)); }

  /// The longest piece that the rest of the word starts with, again and again; a word with an unknown part is
  /// unknown as a whole.
  void encode_word(std::u32string_view word, std::vector<std::int64_t>& ids) const {
    const std::size_t before = ids.size();
    const std::string bytes = word.size() <= longest_word ? text::encode_utf8(word) : std::string();
    std::size_t start = 0;
    while (start < bytes.size()) {
      std::size_t length = std::min(bytes.size() - start, longest_);
      const Pieces& pieces = start == 0 ? first_ : inner_;
      auto found = pieces.find(std::string_view(bytes).substr(start, length));
      while (found == pieces.end() && --length > 0)
        found = pieces.find(std::string_view(bytes).substr(start, length));
      if (found == pieces.end()) break;
      ids.push_back(found->second);
      start += length;
    }
    if (start == bytes.size() && !bytes.empty()) return;
    ids.resize(before);
    ids.push_back(unknown_id_);
  }

  static constexpr std::size_t longest_word = 100;  ///< in characters; longer ones are unknown

  Pieces first_;  ///< at the start of a word
  Pieces inner_;  ///< inside a word, without "##"
  text::TokenMatcher specials_;
  std::size_t longest_ = 0;  ///< piece, in bytes
  std::int64_t size_ = 0;
  std::int64_t unknown_id_ = 0;
  std::int64_t start_id_ = 0;
  std::int64_t end_id_ = 0;
  std::int64_t pad_id_ = 0;
};

}  // namespace reno
