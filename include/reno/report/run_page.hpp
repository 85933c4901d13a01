// What the page of a run shows, as the JSON object that its script reads.
#pragma once

#include <bit>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "reno/report/pictures.hpp"
#include "reno/report/run_record.hpp"

namespace reno::report {

namespace detail {

using Json = nlohmann::ordered_json;

/// Seven digits, as many as the measured numbers have.
inline Json number(double value) {
  return std::isfinite(value) ? Json(std::stod(fmt::format("{:.7g}", value))) : Json();
}

inline Json numbers(const std::vector<double>& values) {
  Json array = Json::array();
  for (const double value : values) array.push_back(number(value));
  return array;
}

/// Single-precision numbers, little-endian, in base64: exact, and a third of their text.
inline std::string packed(const std::vector<float>& values) {
  static_assert(std::endian::native == std::endian::little);
  return encode_base64({reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)});
}

inline Json changes_json(const Changes& changes) {
  Json array = Json::array();
  for (const Change& value : changes.values) {
    Json object = {{"initial", number(value.initial)},
                   {"best", number(value.best)},
                   {"change", number(value.change)},
                   {"improved", value.improved}};
    if (const auto interval = value.interval()) object["interval"] = number(*interval);
    array.push_back(std::move(object));
  }
  return array;
}

/// The rewards and the total loss: everything that is shown as a value.
inline Json values_json(const RunRecord& run) {
  Json array = Json::array();
  for (std::size_t k = 0; k < run.rewards.size(); ++k) {
    array.push_back({{"name", run.rewards[k]},
                     {"weight", run.settings["reward"][k].value("weight", 1.0)},
                     {"higher", true}});
  }
  array.push_back({{"name", "total loss"}, {"higher", false}});
  return array;
}

inline Json labels_json(const RunRecord& run) {
  Json object = Json::object();
  for (const auto& [label, values] : run.by_label) {
    for (const auto& [value, changes] : values) {
      object[label].push_back({{"value", value},
                               {"count", changes.values.empty() ? 0 : changes.values[0].count},
                               {"values", changes_json(changes)}});
    }
  }
  return object;
}

/// The folder of `save_all_images`, if it holds a picture for each iteration.
inline std::filesystem::path iteration_folder(const RunRecord& run, const ImageRecord& image) {
  if (image.iterations == 0) return {};
  const auto folder = image.best_image.parent_path() / "images";
  return png_size(run.directory / folder / fmt::format("{:05}.png", image.iterations - 1))
             ? folder
             : std::filesystem::path();
}

inline Json image_json(const RunRecord& run, const ImageRecord& image, Pictures& pictures) {
  Json object = {{"prompt", image.key.first}, {"seed", image.key.second}, {"text", image.text}};
  for (const auto& [label, value] : image.labels) object["labels"][label] = value;
  if (!image.finished) object["unfinished"] = image.iterations;
  object["initial"] = numbers(image.initial);
  object["best"] = numbers(image.best);
  object["at"] = image.best_iteration;
  const bool refined = !image.refined_best.empty();
  auto files = std::vector{image.initial_image, image.best_image};
  if (refined) files.insert(files.end(), {image.refined_initial_image, image.refined_best_image});
  const auto shown = pictures.add(files);
  object["before"] = shown[0];
  object["after"] = shown[1];
  if (refined)
    object["refined"] = {{"initial", numbers(image.refined_initial)},
                         {"best", numbers(image.refined_best)},
                         {"before", shown[2]},
                         {"after", shown[3]}};
  if (!image.curve.empty()) object["curve"] = packed(image.curve);
  if (const auto folder = iteration_folder(run, image); !folder.empty())
    object["frames"] = {{"folder", pictures.url(folder)}, {"count", image.iterations}};
  return object;
}

inline Json mean_curve_json(const RunRecord& run) {
  const auto flat = [](const std::vector<std::vector<double>>& rows) {
    std::vector<float> values;
    for (const auto& row : rows) values.insert(values.end(), row.begin(), row.end());
    return values;
  };
  return {{"curve", packed(flat(run.mean_curve))},
          {"best", packed(flat(run.mean_best))},
          {"count", run.mean_count}};
}

}  // namespace detail

/// The last part of a directory's name, however it is written.
inline std::string folder_name(const std::filesystem::path& directory) {
  return std::filesystem::absolute(directory / "").lexically_normal().parent_path().filename().string();
}

/// page_folder: where the page will be.
inline nlohmann::ordered_json run_page(const RunRecord& run, const std::filesystem::path& page_folder,
                                       const Limits& limits) {
  nlohmann::ordered_json page;
  page["kind"] = "run";
  page["name"] = folder_name(run.directory);
  page["values"] = detail::values_json(run);
  page["columns"] = run.curve_columns();
  page["count"] = run.count;
  page["all"] = detail::changes_json(run.all);
  if (!run.refined.values.empty()) page["refined"] = detail::changes_json(run.refined);
  page["labels"] = detail::labels_json(run);
  page["mean"] = detail::mean_curve_json(run);
  page["results"] = run.results;
  page["settings"] = run.settings;
  page["experiment"] = run.experiment;
  Pictures pictures(run.directory, page_folder, limits.picture_bytes);
  auto& images = page["images"] = nlohmann::ordered_json::array();
  for (const auto& image : run.images) images.push_back(detail::image_json(run, image, pictures));
  page["carried"] = pictures.carried();
  page["linked"] = pictures.linked();
  return page;
}

}  // namespace reno::report
