// A sweep as its directory tells it: sweep.csv, one row per cell and value, and each cell's run directory.
//
//     cell, folder, status, reward ("total" for the total loss), images, initial, best, low, high,
//     difference, difference_low, difference_high          (to the full objective; empty for itself)
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "reno/report/csv.hpp"
#include "reno/report/run_record.hpp"

namespace reno::report {

/// What a cell reached in one value: the mean over its images, with a 95 % interval where there is one, and
/// the same for the difference to the reference cell.
struct SweepValue {
  double initial = std::nan("");
  double best = std::nan("");
  double low = std::nan("");
  double high = std::nan("");
  double difference = std::nan("");
  double difference_low = std::nan("");
  double difference_high = std::nan("");
};

struct SweepCell {
  std::string name;
  std::filesystem::path folder;  ///< relative to the sweep's directory
  std::string status;            ///< done, failed or missing
  std::int64_t images = 0;
  std::map<std::string, SweepValue> values;
  std::map<std::string, double> weights;  ///< of the rewards in its objective
};

/// The pictures of one prompt where the cells differ: from the best cell to the worst.
struct SweepContrast {
  struct Entry {
    std::size_t cell;
    double value;
    std::filesystem::path image;  ///< relative to the sweep's directory
  };
  std::string text;
  std::uint64_t seed;
  std::vector<Entry> entries;
};

struct SweepRecord {
  std::filesystem::path directory;
  std::string experiment;
  nlohmann::json settings;
  /// In the order of the table; "total" last, if it means the same in all cells.
  std::vector<std::string> values;
  std::vector<SweepCell> cells;
  std::map<std::string, std::vector<SweepContrast>> contrasts;  ///< per reward
};

namespace detail {

class SweepReader {
 public:
  static constexpr std::size_t prompts_compared = 500;
  static constexpr std::size_t contrasts_shown = 6;
  static constexpr std::size_t entries_shown = 6;  ///< of one contrast: the best and the worst

  explicit SweepReader(const std::filesystem::path& directory) : file_(directory / "sweep.csv") {
    sweep_.directory = directory;
    sweep_.experiment = read_text(directory / "experiment.toml");
    sweep_.settings = toml_as_json(sweep_.experiment, directory / "experiment.toml");
    for (const auto& row : read_csv(file_)) add(row);
    std::stable_partition(sweep_.values.begin(), sweep_.values.end(),
                          [](const std::string& name) { return name != "total"; });
    for (auto& cell : sweep_.cells) read_weights(cell);
    if (objectives_differ()) std::erase(sweep_.values, "total");
    for (std::size_t i = 0; i < sweep_.cells.size(); ++i) read_images(i);
    for (std::size_t k = 0; k < sweep_.values.size(); ++k) {
      if (sweep_.values[k] != "total") compare(k);
    }
  }

  SweepRecord take() { return std::move(sweep_); }

 private:
  struct Image {
    std::string text;
    std::vector<std::filesystem::path> files;  ///< per cell; empty where the cell has no such image
    std::vector<std::vector<float>> scores;    ///< per cell, in the order of `values`; NaN where not measured
  };

  const std::string& field(const CsvRow& row, const char* name) const {
    const auto found = row.find(name);
    if (found == row.end()) throw LoadError(fmt::format("{}: there is no column '{}'", file_.string(), name));
    return found->second;
  }

  double number(const CsvRow& row, const char* name) const {
    const auto found = row.find(name);
    if (found == row.end() || found->second.empty()) return std::nan("");
    const std::string& text = found->second;
    double value = 0.0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size())
      throw LoadError(fmt::format("{}: {} = {} is no number", file_.string(), name, in_quotes(text)));
    return value;
  }

  void add(const CsvRow& row) {
    const std::string& name = field(row, "cell");
    if (sweep_.cells.empty() || sweep_.cells.back().name != name) {
      auto& cell = sweep_.cells.emplace_back();
      cell.name = name;
      cell.folder = inside(field(row, "folder"));
      const auto status = row.find("status");
      cell.status = status == row.end() || status->second.empty() ? "done" : status->second;
    }
    auto& cell = sweep_.cells.back();
    const std::string& reward = field(row, "reward");
    if (reward.empty()) return;  // a cell without results
    if (std::find(sweep_.values.begin(), sweep_.values.end(), reward) == sweep_.values.end())
      sweep_.values.push_back(reward);
    if (const double images = number(row, "images"); std::isfinite(images))
      cell.images = static_cast<std::int64_t>(images);
    cell.values[reward] = {
        number(row, "initial"),        number(row, "best"),       number(row, "low"),
        number(row, "high"),           number(row, "difference"), number(row, "difference_low"),
        number(row, "difference_high")};
  }

  void read_weights(SweepCell& cell) const {
    const auto file = sweep_.directory / cell.folder / "experiment.toml";
    if (!std::filesystem::exists(file)) return;
    const auto settings = toml_as_json(read_text(file), file);
    for (const auto& reward : settings.value("reward", nlohmann::json::array()))
      cell.weights[reward.at("name")] = reward.value("weight", 0.0);
  }

  /// Total losses of objectives with other weights are other quantities.
  bool objectives_differ() const {
    const SweepCell* first = nullptr;
    for (const auto& cell : sweep_.cells) {
      if (cell.weights.empty()) continue;
      if (first == nullptr) first = &cell;
      if (cell.weights != first->weights) return true;
    }
    return false;
  }

  void read_images(std::size_t cell) {
    const auto& folder = sweep_.cells[cell].folder;
    for_each_line(sweep_.directory / folder / "results.jsonl", [&](const nlohmann::json& line) {
      const ImageKey key{line.at("prompt"), line.value("seed", std::uint64_t{0})};
      if (!images_.contains(key) && images_.size() >= prompts_compared) return;
      Image& image = images_[key];
      image.files.resize(sweep_.cells.size());
      image.scores.resize(sweep_.cells.size());
      image.text = line.at("text");
      const auto& scores = line.at("best").at("scores");
      image.scores[cell].clear();
      for (const auto& name : sweep_.values) image.scores[cell].push_back(scores.value(name, std::nanf("")));
      image.files[cell] = folder / (line.contains("files") ? inside(line["files"].value("best_image", ""))
                                                           : "best_image.png");
    });
  }

  /// The prompts in which a reward differs most between the cells, and there the best and the worst cells.
  void compare(std::size_t reward) {
    std::vector<std::pair<double, SweepContrast>> found;
    for (const auto& [key, image] : images_) {
      SweepContrast contrast{image.text, key.second, {}};
      for (std::size_t i = 0; i < image.files.size(); ++i) {
        if (image.files[i].empty() || !std::isfinite(image.scores[i][reward])) continue;
        contrast.entries.push_back({i, image.scores[i][reward], image.files[i]});
      }
      auto& entries = contrast.entries;
      if (entries.size() < 2) continue;
      std::stable_sort(entries.begin(), entries.end(),
                       [](const auto& a, const auto& b) { return a.value > b.value; });
      const double spread = entries.front().value - entries.back().value;
      if (entries.size() > entries_shown) {
        const auto half = static_cast<std::ptrdiff_t>(entries_shown / 2);
        entries.erase(entries.begin() + half, entries.end() - half);
      }
      found.emplace_back(spread, std::move(contrast));
    }
    std::stable_sort(found.begin(), found.end(),
                     [](const auto& a, const auto& b) { return a.first > b.first; });
    if (found.size() > contrasts_shown) found.resize(contrasts_shown);
    auto& contrasts = sweep_.contrasts[sweep_.values[reward]];
    for (auto& [spread, contrast] : found) contrasts.push_back(std::move(contrast));
  }

  std::filesystem::path file_;
  SweepRecord sweep_;
  std::map<ImageKey, Image> images_;
};

}  // namespace detail

/// Throws LoadError, naming the file, for what is damaged.
inline SweepRecord read_sweep(const std::filesystem::path& directory) {
  try {
    return detail::SweepReader(directory).take();
  } catch (const nlohmann::json::exception& error) {
    throw LoadError(
        fmt::format("{}: is damaged, or of another version ({})", directory.string(), error.what()));
  }
}

}  // namespace reno::report
