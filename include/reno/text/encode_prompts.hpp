// From prompts to the token ids of a batch, telling the user what a model will not see of a prompt that is
// too long: text encoders have a fixed number of positions.
#pragma once

#include <spdlog/logger.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "reno/text/shortened.hpp"
#include "reno/text/tokens.hpp"

namespace reno {

/// The end of a prompt that does not fit into `kept` tokens, as the user wrote it (UTF-8).
template <class Tokenizer>
std::string text_beyond(const Tokenizer& tokenizer, std::string_view prompt, std::size_t kept) {
  std::vector<std::size_t> characters;  // where each begins
  for (std::size_t i = 0; i < prompt.size(); ++i)
    if ((static_cast<unsigned char>(prompt[i]) & 0xC0) != 0x80) characters.push_back(i);
  characters.push_back(prompt.size());
  const auto first_too_long = std::partition_point(
      characters.begin(), characters.end(),
      [&](std::size_t end) { return tokenizer.encode_text(prompt.substr(0, end)).size() <= kept; });
  if (first_too_long == characters.begin()) return std::string(prompt);
  return std::string(prompt.substr(*(first_too_long - 1)));
}

/// Tokens of each prompt, padded to the tokenizer's length; warns through `log` (may be null) when a prompt
/// is cut, saying what is lost.
template <class Tokenizer>
std::vector<Tokens> tokenize_prompts(const Tokenizer& tokenizer, const std::vector<std::string>& prompts,
                                     const std::shared_ptr<spdlog::logger>& log) {
  std::vector<Tokens> batch;
  for (const auto& prompt : prompts) {
    batch.push_back(tokenizer.encode(prompt));
    const Tokens& tokens = batch.back();
    if (!tokens.truncated() || !log) continue;
    const auto kept = tokenizer.encode_text(prompt).size() - tokens.dropped;
    log->warn(
        "the prompt is truncated: the text encoder takes {} tokens and this prompt has {} more; it will "
        "not see: \"{}\"",
        kept, tokens.dropped, shortened(text_beyond(tokenizer, prompt, kept)));
  }
  return batch;
}

/// The same for a text encoder that needs nothing but the ids.
template <class Tokenizer>
std::vector<std::vector<std::int64_t>> encode_prompts(const Tokenizer& tokenizer,
                                                      const std::vector<std::string>& prompts,
                                                      const std::shared_ptr<spdlog::logger>& log) {
  std::vector<std::vector<std::int64_t>> ids;
  for (auto& tokens : tokenize_prompts(tokenizer, prompts, log)) ids.push_back(std::move(tokens.ids));
  return ids;
}

}  // namespace reno
