// Suggestions for misspelt names: the nearest of the names that exist, if it is near enough to be what was
// meant.
#pragma once

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace reno {

/// Typing errors between two texts, in bytes: letters that were missed, added, replaced or, when neighbours,
/// swapped (optimal string alignment, a restricted Damerau-Levenshtein distance).
inline std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1), row(b.size() + 1), next(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    next[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      next[j] = std::min({row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) next[j] = std::min(next[j], before[j - 2] + 1);
    }
    std::swap(before, row);
    std::swap(row, next);
  }
  return row.back();
}

/// The nearest of `names`, or "". Near is a third of the longer text's length, at least one typing error;
/// letter case does not count, '_' equals '-', and the first words of a name may stand for it ("clp" means
/// "clip-score").
inline std::string did_you_mean(std::string_view wrong, const std::vector<std::string>& names) {
  const auto plain = [](std::string_view text) {
    std::string result(text);
    for (char& c : result) {
      c = c == '_' ? '-' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
    return result;
  };
  const std::string typed = plain(wrong);
  std::string best;
  std::size_t best_distance = 0;
  const auto consider = [&](const std::string& name, std::string_view part) {
    const std::size_t longer = std::max(typed.size(), part.size());
    const std::size_t shorter = std::min(typed.size(), part.size());
    const std::size_t near = std::max<std::size_t>(1, longer / 3);
    if (longer - shorter > near) return;
    const std::size_t distance = edit_distance(typed, part);
    if (distance <= near && distance < longer && (best.empty() || distance < best_distance)) {
      best = name;
      best_distance = distance;
    }
  };
  for (const std::string& name : names) consider(name, plain(name));
  if (!best.empty()) return best;
  for (const std::string& name : names) {
    const std::string whole = plain(name);
    for (std::size_t dash = whole.find('-'); dash != std::string::npos; dash = whole.find('-', dash + 1)) {
      consider(name, std::string_view(whole).substr(0, dash));
    }
  }
  return best;
}

}  // namespace reno
