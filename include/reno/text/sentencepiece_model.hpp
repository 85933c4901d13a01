// A look at a SentencePiece model (spiece.model) before the library gets it. The library checks how the file
// is built, but follows the tables within it unchecked: a crafted one would make it read foreign memory. The
// file is a protocol buffer (sentencepiece_model.proto); its rules for characters are a double-array trie
// (Aoe 1989) over UTF-8.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "reno/error.hpp"

namespace reno::text {

namespace detail {

/// One field of a protocol buffer's message.
struct ProtobufField {
  std::uint64_t number = 0;
  std::uint64_t value = 0;  ///< of a number
  std::string_view bytes;   ///< of a string or a message; empty otherwise
};

/// Calls `visit(field)` for each field of a message; false if its bytes are not one. The deprecated groups
/// do not occur in models.
template <class Visit>
bool for_each_protobuf_field(std::string_view message, Visit visit) {
  const auto varint = [&](std::uint64_t& value) {
    value = 0;
    for (unsigned shift = 0; shift < 64 && !message.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(message.front());
      message.remove_prefix(1);
      value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return true;
    }
    return false;
  };
  while (!message.empty()) {
    ProtobufField field;
    std::uint64_t tag = 0, size = 0;
    if (!varint(tag) || (tag >> 3) == 0 || (tag >> 32) != 0) return false;
    field.number = tag >> 3;
    switch (tag & 7) {
      case 0:
        if (!varint(field.value)) return false;
        break;
      case 1:
        size = 8;
        break;
      case 2:
        if (!varint(size)) return false;
        break;
      case 5:
        size = 4;
        break;
      default:
        return false;
    }
    if (size > message.size()) return false;
    if ((tag & 7) == 2) field.bytes = message.substr(0, size);
    message.remove_prefix(size);
    visit(field);
  }
  return true;
}

/// The rules by which SentencePiece normalises characters: the trie's size in bytes, the trie, and what it
/// points to, strings that end with 0.
class SentencePieceCharsmap {
 public:
  /// Whether searching it for any text stays within it and within the library's buffer of 32 matches.
  static bool is_sound(std::string_view charsmap) {
    std::uint32_t size = 0;
    if (charsmap.size() <= sizeof size) return false;
    std::memcpy(&size, charsmap.data(), sizeof size);  // the formats here are little-endian, as this machine
    charsmap.remove_prefix(sizeof size);
    if (size == 0 || size % sizeof(std::uint32_t) != 0 || size >= charsmap.size()) return false;
    if (charsmap.back() != '\0') return false;
    SentencePieceCharsmap trie;
    trie.units_.resize(size / sizeof(std::uint32_t));
    std::memcpy(trie.units_.data(), charsmap.data(), size);
    trie.strings_ = charsmap.size() - size;
    const int matches = trie.most_matches(offset(trie.units_[0]), 0);
    return matches >= 0 && matches <= most_results;
  }

 private:
  static constexpr int most_results = 32;
  static constexpr int deepest = 64;  // bytes of a key; the published rules have 12
  static constexpr int broken = -1;

  // Darts-clone packs a node into 32 bits: its label, whether a match ends there, and where its children lie.
  static std::size_t offset(std::uint32_t unit) { return std::size_t{unit >> 10} << ((unit & 0x200U) >> 6); }
  static bool is_match(std::uint32_t unit) { return (unit & 0x100U) != 0; }
  static bool has_label(std::uint32_t unit, std::uint32_t byte) { return (unit & 0x800000FFU) == byte; }

  /// The most matches below the node whose children are at `base` ^ byte, or `broken`. Nodes can share their
  /// children, so the answer is remembered.
  int most_matches(std::size_t base, int depth) {
    if ((base | 0xFF) >= units_.size() || depth > deepest) return broken;
    const auto [known, is_new] = known_.try_emplace(base, broken);  // met again on the way down: a cycle
    if (!is_new) return known->second;
    int most = 0;
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
      const std::size_t child = base ^ byte;
      const std::uint32_t unit = units_[child];
      if (!has_label(unit, byte)) continue;
      const std::size_t next = child ^ offset(unit);
      const int below = most_matches(next, depth + 1);
      if (below == broken) return broken;
      if (is_match(unit) && (units_[next] & 0x7FFFFFFFU) >= strings_) return broken;
      most = std::max(most, below + (is_match(unit) ? 1 : 0));
    }
    return known_[base] = most;
  }

  std::vector<std::uint32_t> units_;
  std::size_t strings_ = 0;  // bytes
  std::unordered_map<std::size_t, int> known_;
};

}  // namespace detail

/// Throws LoadError, naming `file`, unless `model` is a complete unigram model (Kudo 2018, as T5 has) that
/// the library can be trusted with.
inline void check_sentencepiece_model(std::string_view model, const std::string& file) {
  constexpr int most_user_symbols = 64;  // the library's buffer for matches of such symbols
  const auto fail = [&](const char* problem) { throw LoadError(file + ": " + problem); };
  int user_symbols = 0;
  std::uint64_t type = 1;
  bool trainer = false, normalizer = false, whole = true, sound = true;
  const auto visit_piece = [&](const detail::ProtobufField& field) {
    if (field.number == 3 && field.value == 4) ++user_symbols;
  };
  const auto visit_trainer = [&](const detail::ProtobufField& field) {
    if (field.number == 3) type = field.value;
  };
  const auto visit_normalizer = [&](const detail::ProtobufField& field) {
    if (field.number == 2 && !field.bytes.empty())
      sound = sound && detail::SentencePieceCharsmap::is_sound(field.bytes);
  };
  whole = detail::for_each_protobuf_field(
              model,
              [&](const detail::ProtobufField& field) {
                switch (field.number) {
                  case 1:
                    whole = detail::for_each_protobuf_field(field.bytes, visit_piece) && whole;
                    break;
                  case 2:
                    trainer = true;
                    whole = detail::for_each_protobuf_field(field.bytes, visit_trainer) && whole;
                    break;
                  case 3:
                  case 5:
                    normalizer = normalizer || field.number == 3;
                    whole = detail::for_each_protobuf_field(field.bytes, visit_normalizer) && whole;
                    break;
                  default:
                    break;
                }
              }) &&
          whole;
  if (!whole || !trainer || !normalizer)
    fail("is not a SentencePiece model, or not all of one; is the download complete?");
  if (type != 1) fail("is a SentencePiece model of another type, expected a unigram model as T5 has");
  if (!sound) fail("is damaged: the rules for characters (precompiled_charsmap) point outside of themselves");
  if (user_symbols > most_user_symbols)
    fail("has more than 64 user-defined symbols, which T5's tokenizer has not");
}

}  // namespace reno::text
