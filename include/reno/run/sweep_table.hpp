// The result of a sweep: sweep.csv, a row for each cell and value, and sweep.md, objectives against rewards.
// Made from the cells' directories alone, one image at a time, so it does not depend on which process made
// what.
#pragma once

#include <fmt/format.h>

#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "reno/io/atomic_file.hpp"
#include "reno/run/bootstrap.hpp"
#include "reno/run/conclude.hpp"
#include "reno/run/results.hpp"
#include "reno/run/sweep.hpp"

namespace reno {

/// What a cell reached in one value, and the difference to its reference.
struct CellValue {
  std::string name;  ///< of the reward, or "total"
  double initial = 0.0;
  BootstrapMean best;
  BootstrapMean difference;  ///< of images that both have; empty for the reference itself
  bool held_out = false;
};

enum class CellStatus { done, failed, missing };

struct CellResult {
  Cell cell;
  CellStatus status = CellStatus::missing;
  std::vector<CellValue> values;  ///< of a cell that is done
};

namespace detail {

/// Lines of results.jsonl, one after the other.
class ResultLines {
 public:
  ResultLines(std::filesystem::path file, std::vector<std::string> rewards)
      : file_(std::move(file)), rewards_(std::move(rewards)), stream_(file_, std::ios::binary) {
    if (!stream_) throw LoadError(fmt::format("{}: cannot be read", file_.string()));
    next();
  }

  /// Nothing behind the last.
  const std::optional<FinishedImage>& image() const { return image_; }
  std::pair<std::int64_t, std::uint64_t> key() const { return {image_->prompt, image_->seed}; }

  void next() {
    std::string line;
    image_.reset();
    if (!std::getline(stream_, line)) return;
    ++number_;
    try {
      image_ = parse_result(rewards_, nlohmann::ordered_json::parse(line));
    } catch (const nlohmann::json::exception& error) {
      throw LoadError(fmt::format("{}:{}: is damaged, or of another version ({})", file_.string(), number_,
                                  error.what()));
    }
  }

 private:
  std::filesystem::path file_;
  std::vector<std::string> rewards_;
  std::ifstream stream_;
  std::optional<FinishedImage> image_;
  std::int64_t number_ = 0;
};

inline std::vector<double> values_of(const ImageMetrics& metrics) {
  std::vector<double> values = metrics.scores;
  values.push_back(metrics.total);
  return values;
}

inline std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

inline std::string number_text(double value) { return fmt::format("{:.6g}", value); }

/// Mean, low and high as three fields; empty ones where there is no such thing.
inline std::string interval_fields(const BootstrapMean& mean) {
  if (mean.count() == 0) return ",,";
  const auto interval = mean.interval();
  if (!interval) return number_text(mean.mean()) + ",,";
  return fmt::format("{},{},{}", number_text(mean.mean()), number_text(interval->first),
                     number_text(interval->second));
}

inline std::string with_half_width(const BootstrapMean& mean, const char* format) {
  const auto interval = mean.interval();
  return fmt::format(fmt::runtime(format), mean.mean()) +
         (interval ? fmt::format(" ± {:.3f}", (interval->second - interval->first) / 2.0) : "");
}

}  // namespace detail

/// Whether the run in the directory has everything.
inline bool is_complete(const std::filesystem::path& directory) {
  const auto file = directory / "results.json";
  if (!std::filesystem::exists(file)) return false;
  return read_json_object(file).value("complete", false);
}

/// Reads a cell that is done beside its reference's results. root: the sweep's directory.
inline std::vector<CellValue> read_cell(const Cell& cell, const Experiment& experiment,
                                        const std::filesystem::path& root,
                                        const std::filesystem::path& reference) {
  const auto rewards = reward_names(experiment);
  std::vector<CellValue> values;
  for (const auto& term : experiment.rewards) values.push_back({term.name, 0.0, {}, {}, term.weight == 0.0});
  values.push_back({"total", 0.0, {}, {}, false});
  std::optional<detail::ResultLines> others;
  if (!reference.empty()) others.emplace(root / reference / "results.jsonl", rewards);
  detail::ResultLines lines(root / cell.folder() / "results.jsonl", rewards);
  for (; lines.image(); lines.next()) {
    const auto& image = *lines.image();
    const auto counts =
        BootstrapMean::counts(static_cast<std::uint64_t>(image.prompt) * 1'000'003 + image.seed);
    while (others && others->image() && others->key() < lines.key()) others->next();
    const bool paired = others && others->image() && others->key() == lines.key();
    const auto initial = detail::values_of(image.initial);
    const auto best = detail::values_of(image.best);
    const auto other = paired ? detail::values_of(others->image()->best) : std::vector<double>();
    for (std::size_t k = 0; k < values.size(); ++k) {
      values[k].initial += initial[k];
      values[k].best.add(best[k], counts);
      if (paired) values[k].difference.add(best[k] - other[k], counts);
    }
  }
  for (auto& value : values)
    value.initial /= static_cast<double>(std::max<std::int64_t>(1, value.best.count()));
  return values;
}

/// Writes sweep.csv and sweep.md row by row.
class SweepTable {
 public:
  explicit SweepTable(const std::filesystem::path& root)
      : csv_(root / "sweep.csv"), markdown_(root / "sweep.md") {
    csv_.write(
        "cell,folder,status,reward,images,initial,best,low,high,difference,difference_low,"
        "difference_high\n");
  }

  void add(const CellResult& result) {
    if (columns_.empty() && !result.values.empty()) write_header(result);
    if (result.status != CellStatus::done) {
      const char* status = result.status == CellStatus::failed ? "failed" : "missing";
      csv_.write(fmt::format("{},{},{},,,,,,,,,\n", detail::csv_field(result.cell.name),
                             result.cell.folder().string(), status));
      pending_ += fmt::format("\n{}: {}\n", result.cell.name, status);
      return;
    }
    std::string row = fmt::format("| {} |", result.cell.name);
    for (const auto& value : result.values) {
      csv_.write(fmt::format("{},{},done,{},{},{},{},{}\n", detail::csv_field(result.cell.name),
                             result.cell.folder().string(), detail::csv_field(value.name), value.best.count(),
                             detail::number_text(value.initial), detail::interval_fields(value.best),
                             detail::interval_fields(value.difference)));
      if (value.name == "total") continue;
      std::string text = detail::with_half_width(value.best, "{:.3f}");
      if (value.held_out) text = "*" + text + "*";
      if (value.difference.count() > 0)
        text += "<br>(" + detail::with_half_width(value.difference, "{:+.3f}") + ")";
      row += " " + text + " |";
    }
    markdown_.write(row + "\n");
  }

  void commit() {
    markdown_.write(pending_);
    csv_.commit();
    markdown_.commit();
  }

 private:
  void write_header(const CellResult& first) {
    for (const auto& value : first.values) {
      if (value.name != "total") columns_.push_back(value.name);
    }
    markdown_.write(fmt::format(
        "Mean score of the best images, ± half of its 95 % bootstrap interval. In parentheses: the paired "
        "difference to the full objective, in a grid to the first cell. In italics: measured, not "
        "optimised.\n\n| "
        "objective | {} |\n|{}\n",
        fmt::join(columns_, " | "), fmt::format(" --- |{}", repeated(" --: |", columns_.size()))));
  }

  static std::string repeated(const std::string& text, std::size_t count) {
    std::string all;
    for (std::size_t i = 0; i < count; ++i) all += text;
    return all;
  }

  AtomicFile csv_;
  AtomicFile markdown_;
  std::vector<std::string> columns_;
  std::string pending_;  ///< cells without results, listed below the table
};

}  // namespace reno
