// The lines that a run writes, and reads back: one for each evaluation (metrics.jsonl) and one for each
// finished image (results.jsonl). `losses` and `total` follow the published implementation (loss = ceiling -
// score, total = weighted losses without the regulariser), so they compare directly.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "reno/loop.hpp"
#include "reno/run/layout.hpp"

namespace reno {

namespace detail {

inline nlohmann::ordered_json by_reward(const std::vector<std::string>& names,
                                        const std::vector<double>& values) {
  auto object = nlohmann::ordered_json::object();
  for (std::size_t k = 0; k < names.size(); ++k) object[names[k]] = values[k];
  return object;
}

/// What the rewards say of an image.
inline nlohmann::ordered_json judged_json(const std::vector<std::string>& names,
                                          const ImageMetrics& metrics) {
  nlohmann::ordered_json object;
  object["scores"] = by_reward(names, metrics.scores);
  object["losses"] = by_reward(names, metrics.losses);
  object["total"] = metrics.total;
  return object;
}

inline nlohmann::ordered_json measured(const std::vector<std::string>& names, const ImageMetrics& metrics) {
  auto object = judged_json(names, metrics);
  object["norm"] = metrics.norm;
  return object;
}

}  // namespace detail

/// A line of metrics.jsonl: one evaluation of one image.
inline nlohmann::ordered_json metrics_json(const std::vector<std::string>& rewards, const Sample& sample,
                                           const Iteration& iteration, const ImageMetrics& metrics) {
  nlohmann::ordered_json object;
  object["iteration"] = iteration.index;
  object["prompt"] = sample.prompt.index;
  object["seed"] = sample.seed;
  object.update(detail::measured(rewards, metrics));
  object["regularization"] = metrics.regularization;
  object["grad_norm"] =
      metrics.grad_norm ? nlohmann::ordered_json(*metrics.grad_norm) : nlohmann::ordered_json();
  object["seconds"] = iteration.seconds;
  return object;
}

/// What the rewards say of the two images of `[refine]`: scores, losses and total only.
struct RefinedMetrics {
  ImageMetrics initial;
  ImageMetrics best;
};

/// A line of results.jsonl: the outcome of one image, and where its files are.
inline nlohmann::ordered_json result_json(const std::vector<std::string>& rewards, const Sample& sample,
                                          const SampleFiles& files, const ImageResult& result,
                                          const std::optional<RefinedMetrics>& refined) {
  nlohmann::ordered_json object;
  object["prompt"] = sample.prompt.index;
  object["seed"] = sample.seed;
  object["text"] = sample.prompt.text;
  for (const auto& [label, value] : sample.prompt.labels) object["labels"][label] = value;
  object["initial"] = detail::measured(rewards, result.initial);
  object["best"] = detail::measured(rewards, result.best);
  object["best_iteration"] = result.best_iteration;
  object["files"] = {{"initial_image", files.initial_image.string()},
                     {"best_image", files.best_image.string()},
                     {"best_noise", files.best_noise.string()}};
  if (result.previewed)
    object["preview"] = {{"initial", detail::measured(rewards, result.previewed->initial)},
                         {"best", detail::measured(rewards, result.previewed->best)}};
  if (refined) {
    object["refined"]["initial"] = detail::judged_json(rewards, refined->initial);
    object["refined"]["best"] = detail::judged_json(rewards, refined->best);
    object["files"]["refined_initial_image"] = files.refined_initial_image.string();
    object["files"]["refined_best_image"] = files.refined_best_image.string();
  }
  return object;
}

/// What a line of results.jsonl says.
struct FinishedImage {
  std::int64_t prompt = 0;
  std::uint64_t seed = 0;
  std::string text;
  std::vector<std::pair<std::string, std::string>> labels;
  ImageMetrics initial;  ///< scores and total only
  ImageMetrics best;
  std::optional<Previewed> previewed;  ///< what the loop saw, where that were previews; scores and total only
  std::int64_t best_iteration = 0;
  std::filesystem::path initial_image;  ///< relative to the run directory, as is the next
  std::filesystem::path best_image;
  std::optional<RefinedMetrics> refined;        ///< scores and total only
  std::filesystem::path refined_initial_image;  ///< empty where nothing was refined, as is the next
  std::filesystem::path refined_best_image;
};

/// Throws a JSON exception when the line is not as `result_json` writes it.
inline FinishedImage parse_result(const std::vector<std::string>& rewards,
                                  const nlohmann::ordered_json& line) {
  const auto metrics = [&](const nlohmann::ordered_json& object) {
    ImageMetrics parsed;
    for (const auto& name : rewards) parsed.scores.push_back(object.at("scores").at(name).get<double>());
    parsed.total = object.at("total").get<double>();
    return parsed;
  };
  FinishedImage image;
  image.prompt = line.at("prompt").get<std::int64_t>();
  image.seed = line.at("seed").get<std::uint64_t>();
  image.text = line.at("text").get<std::string>();
  if (line.contains("labels")) {
    for (const auto& [label, value] : line["labels"].items())
      image.labels.emplace_back(label, value.get<std::string>());
  }
  image.initial = metrics(line.at("initial"));
  image.best = metrics(line.at("best"));
  if (line.contains("preview"))
    image.previewed = {metrics(line["preview"].at("initial")), metrics(line["preview"].at("best"))};
  image.best_iteration = line.at("best_iteration").get<std::int64_t>();
  image.initial_image = line.at("files").at("initial_image").get<std::string>();
  image.best_image = line.at("files").at("best_image").get<std::string>();
  if (line.contains("refined"))
    image.refined = {metrics(line["refined"].at("initial")), metrics(line["refined"].at("best"))};
  image.refined_initial_image = line.at("files").value("refined_initial_image", "");
  image.refined_best_image = line.at("files").value("refined_best_image", "");
  return image;
}

}  // namespace reno
