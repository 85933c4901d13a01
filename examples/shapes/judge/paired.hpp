// Two runs from the same prompts and seeds, picture by picture: by how much one is better, and how sure that
// is.
#pragma once

#include <fmt/format.h>

#include <array>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "reno/run/bootstrap.hpp"
#include "shapes/judge/find_images.hpp"
#include "shapes/judge/tally.hpp"

namespace reno::shapes {

/// Differences of verdicts with 95 % bootstrap intervals, by category and over all pictures.
class PairedTable {
 public:
  void add(Category category, const Verdict& one, const Verdict& other) {
    const auto counts = BootstrapMean::counts(count_++);
    for (auto* row : {&rows_[category], &all_}) {
      (*row)[0].add(one.correct - other.correct, counts);
      (*row)[1].add(one.strict - other.strict, counts);
      (*row)[2].add(one.partial - other.partial, counts);
    }
  }

  std::string text(const std::string& title) const {
    auto lines = fmt::format("{}\n{:<16}{:>6}   {:<26}{:<26}{}\n", title, "difference", "n", "correct",
                             "strict", "partial");
    for (const auto& [category, row] : rows_) lines += line(std::string(name(category)), row);
    return lines + line("all", all_);
  }

  /// "+0.012 (-0.003 to +0.020)"
  static std::string with_interval(const BootstrapMean& value) {
    const auto interval = value.interval();
    return fmt::format("{:+.3f}", value.mean()) +
           (interval ? fmt::format(" ({:+.3f} to {:+.3f})", interval->first, interval->second) : "");
  }

 private:
  using Row = std::array<BootstrapMean, 3>;

  static std::string line(const std::string& title, const Row& row) {
    return fmt::format("{:<16}{:>6}   {:<26}{:<26}{}\n", title, row[0].count(), with_interval(row[0]),
                       with_interval(row[1]), with_interval(row[2]));
  }

  std::map<Category, Row> rows_;
  Row all_;
  std::uint64_t count_ = 0;
};

/// The total loss of the best images of one run less that of another, over the pictures that both have; none
/// where the runs have other objectives: then the same noise has another loss.
inline std::optional<BootstrapMean> paired_loss(const std::filesystem::path& one,
                                                const std::filesystem::path& other) {
  using Losses = std::map<std::pair<std::int64_t, std::int64_t>, std::pair<double, double>>;
  const auto read = [](const std::filesystem::path& root) {
    Losses losses;
    detail::read_lines(root / "results.jsonl", [&](const nlohmann::json& line, const std::string& where) {
      try {
        losses[{line.at("prompt"), line.at("seed")}] = {line.at("initial").at("total"),
                                                        line.at("best").at("total")};
      } catch (const nlohmann::json::exception&) {
        throw LoadError(fmt::format("{}: lacks the prompt's number, the seed or a total loss", where));
      }
    });
    return losses;
  };
  const auto losses = read(one), others = read(other);
  BootstrapMean difference;
  for (const auto& [key, loss] : losses) {
    const auto match = others.find(key);
    if (match == others.end()) continue;
    if (std::abs(loss.first - match->second.first) > 1e-3 * std::abs(loss.first)) return std::nullopt;
    difference.add(loss.second - match->second.second,
                   BootstrapMean::counts(static_cast<std::uint64_t>(difference.count())));
  }
  return difference.count() == 0 ? std::nullopt : std::optional(difference);
}

}  // namespace reno::shapes
