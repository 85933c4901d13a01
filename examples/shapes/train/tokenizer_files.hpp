// A CLIP tokenizer for the words of this world, in the files of transformers: every byte is a token, as in
// every byte-level encoding, and merges make one token of each word of a prompt.
#pragma once

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "reno/io/atomic_file.hpp"
#include "reno/text/byte_pair_encoder.hpp"
#include "reno/text/merges.hpp"
#include "shapes/world/description.hpp"

namespace reno::shapes {

using Merges = std::vector<std::pair<std::string, std::string>>;

namespace detail {

/// The parts of a word after all merges that apply, best first.
inline std::vector<std::string> merged(const std::string& word, const Merges& merges) {
  std::vector<std::string> parts;
  for (const char letter : word) parts.emplace_back(1, letter);
  parts.back() += "</w>";
  for (;;) {
    auto best = merges.end();
    for (std::size_t i = 0; i + 1 < parts.size(); ++i)
      best = std::min(best, std::find(merges.begin(), merges.end(), std::pair(parts[i], parts[i + 1])));
    if (best == merges.end()) return parts;
    for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
      if (std::pair(parts[i], parts[i + 1]) != *best) continue;
      parts[i] += parts[i + 1];
      parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(i) + 1);
    }
  }
}

}  // namespace detail

/// Merges that make one token of every word, from its beginning to its end.
inline Merges merges_of(const std::vector<std::string>& words) {
  Merges merges;
  for (const auto& word : words)
    for (auto parts = detail::merged(word, merges); parts.size() > 1; parts = detail::merged(word, merges))
      merges.emplace_back(parts[0], parts[1]);
  return merges;
}

/// vocab.json: the bytes, the bytes at a word's end, the merges, start and end.
inline nlohmann::ordered_json vocabulary_json(const Merges& merges) {
  const std::vector<std::string> specials = {"<|startoftext|>", "<|endoftext|>"};
  const auto vocabulary = text::vocabulary_of({"merges.txt", true, merges}, specials);
  std::vector<std::pair<std::int64_t, std::string>> tokens;
  const auto add = [&](const std::string& token) { tokens.emplace_back(*vocabulary.find(token), token); };
  for (const auto& symbol : text::byte_symbols()) {
    add(symbol);
    add(symbol + "</w>");
  }
  for (const auto& [left, right] : merges) add(left + right);
  for (const auto& special : specials) add(special);
  std::sort(tokens.begin(), tokens.end());
  nlohmann::ordered_json json;
  for (const auto& [id, token] : tokens) json[token] = id;
  return json;
}

inline void write_json(const std::filesystem::path& file, const nlohmann::ordered_json& json) {
  std::filesystem::create_directories(file.parent_path());
  write_file_atomically(file, json.dump(2) + "\n");
}

/// A tokenizer's directory for prompts of at most `length` tokens.
inline void write_clip_tokenizer(const std::filesystem::path& folder, std::int64_t length) {
  const Merges merges = merges_of(all_words());
  std::string lines = "#version: 0.2\n";
  for (const auto& [left, right] : merges) lines.append(left).append(" ").append(right).append("\n");
  write_json(folder / "vocab.json", vocabulary_json(merges));
  write_file_atomically(folder / "merges.txt", lines);
  const nlohmann::ordered_json specials = {{"bos_token", "<|startoftext|>"},
                                           {"eos_token", "<|endoftext|>"},
                                           {"pad_token", "<|endoftext|>"},
                                           {"unk_token", "<|endoftext|>"}};
  write_json(folder / "special_tokens_map.json", specials);
  auto settings = specials;
  settings["tokenizer_class"] = "CLIPTokenizer";
  settings["errors"] = "replace";
  settings["model_max_length"] = length;
  write_json(folder / "tokenizer_config.json", settings);
}

}  // namespace reno::shapes
