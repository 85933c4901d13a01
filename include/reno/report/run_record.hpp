// A run as its directory tells it: experiment.toml, results.json, results.jsonl and metrics.jsonl. Works on a
// run that goes on or was stopped, too. Files are read line by line; sums are taken over all images, and only
// a limited number of them is kept one by one.
#pragma once

#include <toml++/toml.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "reno/io/json_file.hpp"
#include "reno/report/json_lines.hpp"
#include "reno/report/statistics.hpp"

namespace reno::report {

/// What is kept of a run.
struct Limits {
  std::int64_t images = 20'000;            ///< listed one by one; sums are over all
  std::int64_t curves = 2'000;             ///< of the listed images have their curves
  std::uint64_t picture_bytes = 32 << 20;  ///< of PNG files go into the page; the rest is linked
};

/// Which image of a run: a prompt may have several seeds.
using ImageKey = std::pair<std::int64_t, std::uint64_t>;

/// One image.
struct ImageRecord {
  ImageKey key;
  std::string text;
  std::vector<std::pair<std::string, std::string>> labels;  ///< such as category: Animals
  bool finished = false;
  std::vector<double> initial;  ///< scores, then the total loss
  std::vector<double> best;
  std::int64_t best_iteration = 0;
  std::filesystem::path initial_image;  ///< relative to the run directory; may not exist
  std::filesystem::path best_image;
  std::vector<double> refined_initial;  ///< of the images of `[refine]`, as is all that is called so; empty
  std::vector<double> refined_best;     ///< where there are none
  std::filesystem::path refined_initial_image;
  std::filesystem::path refined_best_image;
  std::size_t iterations = 0;       ///< that have been measured
  std::vector<double> best_so_far;  ///< values at the measured iteration of lowest total loss
  std::vector<float> curve;         ///< rows of `curve_columns` numbers, one per iteration
};

struct RunRecord {
  std::filesystem::path directory;
  std::string experiment;          ///< the resolved TOML
  nlohmann::json settings;         ///< the same as JSON
  nlohmann::ordered_json results;  ///< results.json; null while there is none
  std::vector<std::string> rewards;
  std::int64_t count = 0;  ///< of images, listed or not
  Changes all;
  Changes refined;  ///< between the images of `[refine]`; empty where there are none
  std::map<std::string, std::map<std::string, Changes>> by_label;
  std::vector<ImageRecord> images;
  std::vector<std::vector<double>> mean_curve;  ///< of the listed images: per iteration, mean of each column
  std::vector<std::vector<double>> mean_best;   ///< likewise, the values of each image's best so far
  std::vector<std::int64_t> mean_count;         ///< per iteration: images that have it

  /// Scores, total loss, norm of the noise, norm of the gradient, seconds.
  std::size_t curve_columns() const { return rewards.size() + 4; }
};

namespace detail {

inline nlohmann::json toml_as_json(const std::string& text, const std::filesystem::path& file) {
  try {
    std::ostringstream json;
    const toml::table table = toml::parse(text, file.string());
    json << toml::json_formatter{table};
    return parse_json(json.str(), file.string());
  } catch (const toml::parse_error& error) {
    throw LoadError(fmt::format("{}:{}: {}", file.string(), error.source().begin.line, error.description()));
  }
}

inline std::string read_text(const std::filesystem::path& file) {
  return std::filesystem::exists(file) ? std::string(MappedFile(file).text()) : "";
}

/// JSON whose keys keep their order, which is an order for people.
inline nlohmann::ordered_json parse_ordered(const std::filesystem::path& file) {
  try {
    return nlohmann::ordered_json::parse(read_text(file));
  } catch (const nlohmann::json::exception& error) {
    throw LoadError(fmt::format("{}: is not valid JSON ({})", file.string(), error.what()));
  }
}

/// A path that a results file names, kept inside of the run directory whoever wrote it.
inline std::filesystem::path inside(const std::string& name) {
  const auto path = std::filesystem::path(name).lexically_normal();
  return path.is_absolute() || (!path.empty() && *path.begin() == "..") ? std::filesystem::path() : path;
}

/// Takes a run directory in.
class RunReader {
 public:
  /// A label with more values than this is no breakdown; the rest is counted together.
  static constexpr std::size_t most_values = 200;

  RunReader(const std::filesystem::path& directory, const Limits& limits) : limits_(limits) {
    run_.directory = directory;
    const auto file = directory / "experiment.toml";
    run_.experiment = read_text(file);
    run_.settings = toml_as_json(run_.experiment, file);
    if (run_.settings.contains("reward")) {
      for (const auto& reward : run_.settings["reward"]) run_.rewards.push_back(reward.at("name"));
    }
    if (std::filesystem::exists(directory / "results.json"))
      run_.results = parse_ordered(directory / "results.json");
    for_each_line(directory / "results.jsonl", [&](const nlohmann::json& line) { add_result(line); });
    for_each_line(directory / "metrics.jsonl", [&](const nlohmann::json& line) { add_metrics(line); });
    finish();
  }

  RunRecord take() { return std::move(run_); }

 private:
  std::vector<double> values(const nlohmann::json& measured) const {
    std::vector<double> numbers;
    for (const auto& name : run_.rewards) numbers.push_back(measured.at("scores").at(name));
    numbers.push_back(measured.at("total"));
    return numbers;
  }

  static ImageKey key(const nlohmann::json& line) {
    return {line.at("prompt"), line.value("seed", std::uint64_t{0})};
  }

  /// The listed image of that key, new when there is room for it; nullptr otherwise.
  ImageRecord* listed(const ImageKey& key) {
    const auto known = index_.find(key);
    if (known != index_.end()) return &run_.images[known->second];
    if (std::ssize(run_.images) >= limits_.images) return nullptr;
    index_.emplace(key, run_.images.size());
    run_.images.emplace_back().key = key;
    return &run_.images.back();
  }

  void add_result(const nlohmann::json& line) {
    const auto initial = values(line.at("initial"));
    const auto best = values(line.at("best"));
    ++run_.count;
    run_.all.add(initial, best);
    const bool refined = line.contains("refined");
    if (refined) run_.refined.add(values(line["refined"].at("initial")), values(line["refined"].at("best")));
    const auto labels = line.value("labels", nlohmann::json::object());
    for (const auto& [label, value] : labels.items()) {
      auto& values = run_.by_label[label];
      const bool one_more = values.contains(value) || values.size() < most_values;
      values[one_more ? value.get<std::string>() : "(others)"].add(initial, best);
    }
    ImageRecord* image = listed(key(line));
    if (image == nullptr) return;
    image->text = line.at("text");
    for (const auto& [label, value] : labels.items()) image->labels.emplace_back(label, value);
    image->finished = true;
    image->initial = initial;
    image->best = best;
    image->best_iteration = line.at("best_iteration");
    if (refined) {
      image->refined_initial = values(line["refined"]["initial"]);
      image->refined_best = values(line["refined"]["best"]);
    }
    if (line.contains("files")) {
      image->initial_image = inside(line["files"].value("initial_image", ""));
      image->best_image = inside(line["files"].value("best_image", ""));
      image->refined_initial_image = inside(line["files"].value("refined_initial_image", ""));
      image->refined_best_image = inside(line["files"].value("refined_best_image", ""));
    }
  }

  void add_metrics(const nlohmann::json& line) {
    const std::size_t iteration = line.at("iteration");
    std::vector<double> row = values(line);
    row.push_back(line.at("norm"));
    row.push_back(line.at("grad_norm").is_null() ? std::nan("") : line.at("grad_norm").get<double>());
    row.push_back(line.at("seconds"));
    ImageRecord* image = listed(key(line));
    // A resumed run may measure an iteration again, with the same outcome; it counts once.
    if (image == nullptr || iteration != image->iterations) return;
    ++image->iterations;
    const std::size_t total = run_.rewards.size();
    if (iteration == 0 || row[total] < image->best_so_far[total])
      image->best_so_far.assign(row.begin(), row.begin() + static_cast<std::ptrdiff_t>(total + 1));
    add_to_mean(iteration, row, image->best_so_far);
    if (image - run_.images.data() >= limits_.curves) return;
    image->curve.insert(image->curve.end(), row.begin(), row.end());
  }

  void add_to_mean(std::size_t iteration, const std::vector<double>& row, const std::vector<double>& best) {
    if (run_.mean_curve.size() <= iteration) {
      run_.mean_curve.resize(iteration + 1, std::vector<double>(row.size(), 0.0));
      run_.mean_best.resize(iteration + 1, std::vector<double>(best.size(), 0.0));
      run_.mean_count.resize(iteration + 1, 0);
    }
    ++run_.mean_count[iteration];
    for (std::size_t k = 0; k < row.size(); ++k) run_.mean_curve[iteration][k] += row[k];
    for (std::size_t k = 0; k < best.size(); ++k) run_.mean_best[iteration][k] += best[k];
  }

  void finish() {
    for (std::size_t i = 0; i < run_.mean_curve.size(); ++i) {
      for (double& value : run_.mean_curve[i]) value /= static_cast<double>(run_.mean_count[i]);
      for (double& value : run_.mean_best[i]) value /= static_cast<double>(run_.mean_count[i]);
    }
    for (auto& image : run_.images) {
      if (!image.finished) finish_from_curve(image);
      if (image.best_image.empty()) place_pictures(image);
    }
    std::erase_if(run_.images, [](const ImageRecord& image) { return image.best.empty(); });
    run_.count = std::max<std::int64_t>(run_.count, std::ssize(run_.images));
    std::stable_sort(run_.images.begin(), run_.images.end(),
                     [](const ImageRecord& a, const ImageRecord& b) { return a.key < b.key; });
  }

  /// What is known of an image that is not finished.
  void finish_from_curve(ImageRecord& image) {
    const std::size_t columns = run_.curve_columns();
    const std::size_t total = run_.rewards.size();
    const std::size_t rows = image.curve.size() / columns;
    if (rows == 0) return;
    std::size_t best = 0;
    for (std::size_t i = 1; i < rows; ++i) {
      if (image.curve[i * columns + total] < image.curve[best * columns + total]) best = i;
    }
    const auto row = [&](std::size_t i) {
      const auto begin = image.curve.begin() + static_cast<std::ptrdiff_t>(i * columns);
      return std::vector<double>(begin, begin + static_cast<std::ptrdiff_t>(total + 1));
    };
    image.initial = row(0);
    image.best = row(best);
    image.best_iteration = static_cast<std::int64_t>(best);
    if (single()) image.text = setting("/run/prompt");
  }

  std::string setting(const char* pointer) const {
    return run_.settings.value(nlohmann::json::json_pointer(pointer), "");
  }
  bool single() const { return setting("/run/task") == "single"; }

  /// Where pictures are that no line of results names.
  void place_pictures(ImageRecord& image) const {
    const std::filesystem::path folder = single() ? "" : fmt::format("{:05}", image.key.first);
    image.initial_image = folder / "init_image.png";
    image.best_image = folder / "best_image.png";
  }

  const Limits& limits_;
  RunRecord run_;
  std::map<ImageKey, std::size_t> index_;
};

}  // namespace detail

/// Reads a run directory. Throws LoadError, naming file and line, for what is damaged.
inline RunRecord read_run(const std::filesystem::path& directory, const Limits& limits) {
  try {
    return detail::RunReader(directory, limits).take();
  } catch (const nlohmann::json::exception& error) {
    throw LoadError(fmt::format("{}: is damaged, or of another version ({})",
                                (directory / "experiment.toml").string(), error.what()));
  }
}

}  // namespace reno::report
