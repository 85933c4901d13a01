// Finds special tokens in running text: the leftmost, and of those that start there the longest.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace reno::text {

class TokenMatcher {
 public:
  struct Match {
    std::size_t length = 0;  ///< 0: no token here
    std::int64_t id = 0;
  };

  void add(std::u32string content, std::int64_t id) {
    auto& bucket = by_first_[content.front()];
    bucket.emplace_back(std::move(content), id);
    std::stable_sort(bucket.begin(), bucket.end(),
                     [](const auto& a, const auto& b) { return a.first.size() > b.first.size(); });
  }

  /// The longest token that `text` starts with.
  Match match(std::u32string_view text) const {
    const auto bucket = text.empty() ? by_first_.end() : by_first_.find(text.front());
    if (bucket == by_first_.end()) return {};
    for (const auto& [content, id] : bucket->second)
      if (text.starts_with(content)) return {content.size(), id};
    return {};
  }

  /// Cuts `text` at its tokens: `on_text(part)` and `on_token(id)` in order, without empty parts.
  template <typename OnText, typename OnToken>
  void split(std::u32string_view text, OnText on_text, OnToken on_token) const {
    std::size_t start = 0;
    for (std::size_t i = 0; i < text.size();) {
      const Match found = match(text.substr(i));
      if (found.length == 0) {
        ++i;
        continue;
      }
      if (i > start) on_text(text.substr(start, i - start));
      on_token(found.id);
      start = i += found.length;
    }
    if (start < text.size()) on_text(text.substr(start));
  }

 private:
  std::unordered_map<char32_t, std::vector<std::pair<std::u32string, std::int64_t>>> by_first_;
};

}  // namespace reno::text
