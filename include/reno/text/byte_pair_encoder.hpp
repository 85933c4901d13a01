// Byte pair encoding of one word (Sennrich et al. 2016, in the byte-level form of GPT-2 and CLIP): every byte
// is a symbol, the last one marked as the word's end; the adjacent pair that comes first in the merge list is
// joined, everywhere in the word, until none is left.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <queue>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "reno/error.hpp"
#include "reno/text/merges.hpp"
#include "reno/text/unicode.hpp"
#include "reno/text/vocabulary.hpp"

namespace reno::text {

inline constexpr std::string_view end_of_word = "</w>";

/// The printable character that stands for each byte in vocabulary files: itself, or one from U+0100 on.
inline std::array<std::string, 256> byte_symbols() {
  std::array<std::string, 256> symbols;
  char32_t next = 0x100;
  for (char32_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xFF && byte != 0xAD);
    append_utf8(symbols[byte], printable ? byte : next++);
  }
  return symbols;
}

/// The vocabulary that follows from a merge list alone, as OpenAI's CLIP and open_clip build it: bytes (the
/// printable ones first), bytes at the end of a word, merges, `specials`.
inline Vocabulary vocabulary_of(const MergeList& merges, const std::vector<std::string>& specials) {
  const std::array<std::string, 256> symbols = byte_symbols();
  std::vector<std::string> tokens;
  for (const bool own : {true, false})
    for (std::size_t byte = 0; byte < 256; ++byte)
      if ((decode_utf8(symbols[byte])[0] == byte) == own) tokens.push_back(symbols[byte]);
  for (std::size_t i = 0; i < 256; ++i) tokens.push_back(tokens[i] + std::string(end_of_word));
  std::unordered_set<std::string> known(tokens.begin(), tokens.end());
  for (std::size_t i = 0; i < merges.pairs.size(); ++i) {
    const auto& [left, right] = merges.pairs[i];
    if (!known.insert(left + right).second)
      throw LoadError(merges.place(i) + ": the merge of " + in_quotes(left) + " and " + in_quotes(right) +
                      " gives " + in_quotes(left + right) + ", which is a token already");
    tokens.push_back(left + right);
  }
  tokens.insert(tokens.end(), specials.begin(), specials.end());
  return Vocabulary(merges.file, std::move(tokens));
}

class BytePairEncoder {
 public:
  /// Throws LoadError if the vocabulary lacks a byte or a merge's parts or result, or a merge comes twice.
  BytePairEncoder(const Vocabulary& vocabulary, const MergeList& merges) {
    const std::array<std::string, 256> symbols = byte_symbols();
    for (std::size_t byte = 0; byte < 256; ++byte) {
      inner_[byte] = byte_id(vocabulary, symbols[byte]);
      last_[byte] = byte_id(vocabulary, symbols[byte] + std::string(end_of_word));
    }
    ranks_.reserve(merges.pairs.size());
    for (std::size_t i = 0; i < merges.pairs.size(); ++i) {
      const auto& [left, right] = merges.pairs[i];
      const auto fail = [&, &left = left, &right = right](const std::string& problem) {
        throw LoadError(merges.place(i) + ": the merge of " + in_quotes(left) + " and " + in_quotes(right) +
                        problem);
      };
      const auto id = [&](const std::string& symbol) {
        const std::int64_t* found = vocabulary.find(symbol);
        if (!found)
          fail(" needs the token " + in_quotes(symbol) + ", which " + vocabulary.file() + " does not have");
        return static_cast<Id>(*found);
      };
      results_.push_back(id(left + right));
      const auto [known, is_new] =
          ranks_.try_emplace(key(id(left), id(right)), static_cast<std::uint32_t>(i));
      if (!is_new) fail(" is in " + merges.place(known->second) + " already");
    }
  }

  /// Appends the tokens of one word, given as UTF-8, to `ids`. Time grows as n log n with the length of the
  /// word.
  void encode_word(std::string_view word, std::vector<std::int64_t>& ids) const {
    if (word.size() >= none) throw ConfigurationError("a prompt has a word of more than 4 GB");
    if (word.empty()) return;
    std::vector<Symbol> symbols(word.size());
    for (Position i = 0; i < word.size(); ++i) {
      const auto byte = static_cast<unsigned char>(word[i]);
      symbols[i] = {i + 1 < word.size() ? inner_[byte] : last_[byte], i - 1, i + 1};
    }
    symbols.back().next = none;
    merge_all(symbols);
    for (Position i = 0; i != none; i = symbols[i].next) ids.push_back(symbols[i].id);
  }

 private:
  using Id = std::int32_t;
  using Position = std::uint32_t;
  static constexpr Position none = static_cast<Position>(-1);

  /// Element of a linked list. A symbol that was merged into its neighbour has the id -1.
  struct Symbol {
    Id id;
    Position previous;
    Position next;
  };

  /// A pair that can be merged; best first, then leftmost first.
  struct Candidate {
    std::uint32_t rank;
    Position position;
    Id left;
    Id right;
    bool operator>(const Candidate& other) const {
      return std::tie(rank, position) > std::tie(other.rank, other.position);
    }
  };
  using Queue = std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>>;

  static Id byte_id(const Vocabulary& vocabulary, const std::string& symbol) {
    if (const std::int64_t* found = vocabulary.find(symbol)) return static_cast<Id>(*found);
    throw LoadError(
        vocabulary.file() + ": the token " + in_quotes(symbol) +
        " is missing; a byte-level vocabulary has one for each of the 256 bytes, with and without \"</w>\"");
  }

  static std::uint64_t key(Id left, Id right) {
    return (static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32) |
           static_cast<std::uint32_t>(right);
  }

  void consider(const std::vector<Symbol>& symbols, Position position, Queue& queue) const {
    if (position == none || symbols[position].next == none) return;
    const Id left = symbols[position].id;
    const Id right = symbols[symbols[position].next].id;
    const auto rank = ranks_.find(key(left, right));
    if (rank != ranks_.end()) queue.push({rank->second, position, left, right});
  }

  void merge_all(std::vector<Symbol>& symbols) const {
    Queue queue;
    for (Position i = 0; i < symbols.size(); ++i) consider(symbols, i, queue);
    std::vector<Position> merged;
    while (!queue.empty()) {
      // All places of one pair, before pairs that arise from them: this decides when a list is not sorted as
      // training sorts it.
      merged.clear();
      for (const std::uint32_t rank = queue.top().rank; !queue.empty() && queue.top().rank == rank;
           queue.pop())
        if (merge_one(symbols, queue.top())) merged.push_back(queue.top().position);
      for (const Position position : merged) {
        consider(symbols, symbols[position].previous, queue);
        consider(symbols, position, queue);
      }
    }
  }

  /// False if the pair is no longer there.
  bool merge_one(std::vector<Symbol>& symbols, const Candidate& candidate) const {
    Symbol& left = symbols[candidate.position];
    if (left.id != candidate.left || left.next == none || symbols[left.next].id != candidate.right)
      return false;
    Symbol& right = symbols[left.next];
    left.id = results_[candidate.rank];
    left.next = right.next;
    right.id = -1;
    if (left.next != none) symbols[left.next].previous = candidate.position;
    return true;
  }

  std::array<Id, 256> inner_{};
  std::array<Id, 256> last_{};
  std::unordered_map<std::uint64_t, std::uint32_t> ranks_;  ///< of a pair in the merge list
  std::vector<Id> results_;                                 ///< by rank
};

}  // namespace reno::text
