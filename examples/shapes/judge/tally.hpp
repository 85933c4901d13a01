// Verdicts counted by series and category, and the table and JSON made of them.
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shapes/world/judge.hpp"

namespace reno::shapes {

struct Tally {
  int count = 0;
  int correct = 0;
  int strict = 0;
  double partial = 0;  ///< sum

  void add(const Verdict& verdict) {
    ++count;
    correct += verdict.correct ? 1 : 0;
    strict += verdict.strict ? 1 : 0;
    partial += verdict.partial;
  }
};

/// 95 % confidence interval of a fraction (Wilson 1927).
inline std::pair<double, double> wilson_interval(int successes, int count) {
  constexpr double z = 1.959964;
  const double n = count, p = successes / n;
  const double middle = (p + z * z / (2 * n)) / (1 + z * z / n);
  const double half = z * std::sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n);
  return {std::max(0., middle - half), std::min(1., middle + half)};
}

/// Of one series. The row "all" is the mean over the categories, as GenEval reports it, and so counts each
/// category equally.
class Table {
 public:
  void add(Category category, const Verdict& verdict) { tallies_[category].add(verdict); }

  std::string text(std::string_view title) const {
    std::string lines =
        fmt::format("{:<16}{:>6}   {:<22}{:<22}{}\n", title, "n", "correct", "strict", "partial");
    for (const auto& [category, tally] : tallies_)
      lines += fmt::format("{:<16}{:>6}   {:<22}{:<22}{:.3f}\n", name(category), tally.count,
                           with_interval(tally.correct, tally.count),
                           with_interval(tally.strict, tally.count), tally.partial / tally.count);
    const auto all = mean();
    return lines + fmt::format("{:<16}{:>6}   {:<22.3f}{:<22.3f}{:.3f}\n", "mean", all.count, all.correct,
                               all.strict, all.partial);
  }

  nlohmann::ordered_json json() const {
    nlohmann::ordered_json object;
    for (const auto& [category, tally] : tallies_)
      object[std::string(name(category))] =
          entry(tally.count, 1. * tally.correct / tally.count, 1. * tally.strict / tally.count,
                tally.partial / tally.count);
    const auto all = mean();
    object["mean"] = entry(all.count, all.correct, all.strict, all.partial);
    return object;
  }

  /// Fractions, averaged over the categories.
  struct Mean {
    int count = 0;  ///< of pictures
    double correct = 0, strict = 0, partial = 0;
  };
  Mean mean() const {
    Mean mean;
    const double share = 1. / static_cast<double>(tallies_.size());
    for (const auto& [category, tally] : tallies_) {
      mean.count += tally.count;
      mean.correct += share * tally.correct / tally.count;
      mean.strict += share * tally.strict / tally.count;
      mean.partial += share * tally.partial / tally.count;
    }
    return mean;
  }

 private:
  static std::string with_interval(int successes, int count) {
    const auto [low, high] = wilson_interval(successes, count);
    return fmt::format("{:.3f} ({:.2f}-{:.2f})", 1. * successes / count, low, high);
  }
  static nlohmann::ordered_json entry(int count, double correct, double strict, double partial) {
    return {{"count", count}, {"correct", correct}, {"strict", strict}, {"partial", partial}};
  }

  std::map<Category, Tally> tallies_;
};

}  // namespace reno::shapes
