// What every tokeniser returns: the ids of one prompt, with start and end tokens, and what did not fit.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace reno {

/// One prompt as a text encoder takes it.
struct Tokens {
  std::vector<std::int64_t> ids;  ///< start token, text, end token, padding
  std::size_t length = 0;         ///< how many of `ids` come before the padding
  std::size_t dropped = 0;        ///< tokens of the text that were cut off to keep within the length limit

  bool truncated() const { return dropped > 0; }

  /// 1 for every token, 0 for padding.
  std::vector<std::int64_t> attention_mask() const {
    std::vector<std::int64_t> mask(ids.size(), 0);
    std::fill_n(mask.begin(), std::min(length, mask.size()), 1);
    return mask;
  }
};

enum class Padding {
  none,        ///< as many ids as there are tokens
  max_length,  ///< always the length limit
};

/// Fills up with `pad_id` to at least `size` ids.
inline void pad(Tokens& tokens, std::size_t size, std::int64_t pad_id) {
  tokens.ids.resize(std::max(size, tokens.ids.size()), pad_id);
}

/// Fills all up to the longest of them, so that they make a matrix.
inline void pad_to_longest(std::vector<Tokens>& batch, std::int64_t pad_id) {
  std::size_t longest = 0;
  for (const Tokens& tokens : batch) longest = std::max(longest, tokens.ids.size());
  for (Tokens& tokens : batch) pad(tokens, longest, pad_id);
}

/// Puts start and end around `text`, which is cut to fit; `max_length` is at least 2.
inline Tokens frame(std::vector<std::int64_t> text, std::int64_t start_id, std::int64_t end_id,
                    std::size_t max_length) {
  Tokens tokens;
  const std::size_t kept = std::min(text.size(), max_length - 2);
  tokens.dropped = text.size() - kept;
  text.resize(kept);
  text.insert(text.begin(), start_id);
  text.push_back(end_id);
  tokens.length = text.size();
  tokens.ids = std::move(text);
  return tokens;
}

}  // namespace reno
