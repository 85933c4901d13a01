// The rules by which SentencePiece normalises characters, such as full-width letters to plain ones: a
// double-array trie (Aoe 1989, in darts-clone's layout) over UTF-8. The tables come from a file, so they are
// checked once before anything follows them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace reno::text {

/// Immutable; empty, it changes nothing.
class SentencePieceCharsmap {
 public:
  SentencePieceCharsmap() = default;

  /// The stored form: the trie's size in bytes, the trie, and what it points to, strings that end with 0.
  /// None if a search of it for any text could leave it.
  static std::optional<SentencePieceCharsmap> read(std::string_view charsmap) {
    std::uint32_t size = 0;
    if (charsmap.size() <= sizeof size) return std::nullopt;
    std::memcpy(&size, charsmap.data(), sizeof size);  // the formats here are little-endian, as this machine
    charsmap.remove_prefix(sizeof size);
    if (size == 0 || size % sizeof(std::uint32_t) != 0 || size >= charsmap.size()) return std::nullopt;
    if (charsmap.back() != '\0') return std::nullopt;
    SentencePieceCharsmap trie;
    trie.units_.resize(size / sizeof(std::uint32_t));
    std::memcpy(trie.units_.data(), charsmap.data(), size);
    trie.strings_ = charsmap.substr(size);
    Visited visited;
    if (!trie.is_sound(offset(trie.units_[0]), 0, visited)) return std::nullopt;
    return trie;
  }

  struct Match {
    std::size_t length = 0;        ///< bytes of the text; 0 if no rule applies
    std::string_view replacement;  ///< valid as long as the rules
  };

  /// The rule for the longest possible beginning of `text`.
  Match longest_match(std::string_view text) const {
    Match longest;
    if (units_.empty()) return longest;
    std::size_t base = offset(units_[0]);
    for (std::size_t i = 0; i < text.size(); ++i) {
      const auto byte = static_cast<unsigned char>(text[i]);
      const std::size_t child = base ^ byte;
      const std::uint32_t unit = units_[child];
      if (!has_label(unit, byte)) break;
      base = child ^ offset(unit);
      if (is_match(unit)) longest = {i + 1, strings_.c_str() + target(units_[base])};
    }
    return longest;
  }

 private:
  static constexpr int deepest = 64;  // bytes of a key; the published rules have 12

  // Darts-clone packs a node into 32 bits: its label, whether a match ends there, and where its children lie.
  static std::size_t offset(std::uint32_t unit) { return std::size_t{unit >> 10} << ((unit & 0x200U) >> 6); }
  static bool is_match(std::uint32_t unit) { return (unit & 0x100U) != 0; }
  static bool has_label(std::uint32_t unit, std::uint32_t byte) { return (unit & 0x800000FFU) == byte; }

  static std::size_t target(std::uint32_t unit) { return unit & 0x7FFFFFFFU; }

  using Visited = std::unordered_map<std::size_t, bool>;

  /// Whether all below the node whose children are at `base` ^ byte lies within the tables. Nodes can share
  /// their children, so the answer is remembered.
  bool is_sound(std::size_t base, int depth, Visited& visited) const {
    if ((base | 0xFF) >= units_.size() || depth > deepest) return false;
    const auto [known, is_new] = visited.try_emplace(base, false);  // met again on the way down: a cycle
    if (!is_new) return known->second;
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
      const std::size_t child = base ^ byte;
      const std::uint32_t unit = units_[child];
      if (!has_label(unit, byte)) continue;
      const std::size_t next = child ^ offset(unit);
      if (!is_sound(next, depth + 1, visited)) return false;
      if (is_match(unit) && target(units_[next]) >= strings_.size()) return false;
    }
    return visited[base] = true;
  }

  std::vector<std::uint32_t> units_;
  std::string strings_;
};

}  // namespace reno::text
