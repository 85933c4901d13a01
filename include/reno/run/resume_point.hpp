// Where `--resume` goes on: resume.safetensors, written whole or not at all, after each batch and now and
// then within one. It says how long the files of lines were, so that what was appended later (and comes
// again) is cut off, half a line at the end included; and it holds all that the next iteration depends on.
#pragma once

#include <fmt/format.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "reno/io/safetensors.hpp"
#include "reno/loop.hpp"
#include "reno/run/costs.hpp"

namespace reno {

struct ResumePoint {
  std::int64_t batch = 0;      ///< all before it are done
  std::int64_t iteration = 0;  ///< of that batch, the next; 0: it has not begun
  bool finished = false;       ///< there is nothing left to do
  std::uint64_t metrics_bytes = 0;
  std::uint64_t results_bytes = 0;
  Costs costs;
  at::Tensor noise;  ///< (N, ...), as the next iteration measures it; only of a batch that has begun
  std::vector<at::Tensor> sources;  ///< of each image's random stream
  std::vector<at::Tensor> optimizer;
  std::vector<ImageResult> results;  ///< of each image so far
};

namespace detail {

inline nlohmann::ordered_json metrics_state(const ImageMetrics& metrics) {
  nlohmann::ordered_json object;
  object["scores"] = metrics.scores;
  object["losses"] = metrics.losses;
  object["total"] = metrics.total;
  object["norm"] = metrics.norm;
  object["regularization"] = metrics.regularization;
  if (metrics.grad_norm) object["grad_norm"] = *metrics.grad_norm;
  return object;
}

inline ImageMetrics metrics_from(const nlohmann::ordered_json& object) {
  ImageMetrics metrics;
  metrics.scores = object.at("scores").get<std::vector<double>>();
  metrics.losses = object.at("losses").get<std::vector<double>>();
  metrics.total = object.at("total").get<double>();
  metrics.norm = object.at("norm").get<double>();
  metrics.regularization = object.at("regularization").get<double>();
  if (object.contains("grad_norm")) metrics.grad_norm = object["grad_norm"].get<double>();
  return metrics;
}

}  // namespace detail

/// Throws RunError.
inline void write_resume_point(const std::filesystem::path& file, const ResumePoint& point) {
  nlohmann::ordered_json state = {{"batch", point.batch},
                                  {"iteration", point.iteration},
                                  {"finished", point.finished},
                                  {"metrics_bytes", point.metrics_bytes},
                                  {"results_bytes", point.results_bytes},
                                  {"costs", costs_json(point.costs)},
                                  {"optimizer", point.optimizer.size()}};
  std::map<std::string, at::Tensor> tensors;
  if (point.noise.defined()) tensors["noise"] = point.noise;
  for (std::size_t i = 0; i < point.optimizer.size(); ++i)
    tensors[fmt::format("optimizer.{}", i)] = point.optimizer[i];
  for (std::size_t n = 0; n < point.results.size(); ++n) {
    const ImageResult& result = point.results[n];
    tensors[fmt::format("source.{}", n)] = point.sources[n];
    tensors[fmt::format("best_image.{}", n)] = result.best_image;
    tensors[fmt::format("best_noise.{}", n)] = result.best_noise;
    state["images"].push_back({{"initial", detail::metrics_state(result.initial)},
                               {"best", detail::metrics_state(result.best)},
                               {"best_iteration", result.best_iteration}});
  }
  write_safetensors(file, tensors, {{"state", state.dump()}});
}

/// Nothing when the file is not there. Throws LoadError, naming it, when it is not as it was written.
inline std::optional<ResumePoint> read_resume_point(const std::filesystem::path& file) {
  if (!std::filesystem::exists(file)) return std::nullopt;
  const auto source = open_safetensors(file);
  const auto tensor = [&](const std::string& name) { return source->read(name).clone(); };
  try {
    const auto state = nlohmann::ordered_json::parse(source->metadata().at("state"));
    ResumePoint point;
    point.batch = state.at("batch").get<std::int64_t>();
    point.iteration = state.at("iteration").get<std::int64_t>();
    point.finished = state.at("finished").get<bool>();
    point.metrics_bytes = state.at("metrics_bytes").get<std::uint64_t>();
    point.results_bytes = state.at("results_bytes").get<std::uint64_t>();
    point.costs = parse_costs(state.at("costs"));
    if (!state.contains("images")) return point;
    point.noise = tensor("noise");
    for (std::size_t i = 0; i < state.at("optimizer").get<std::size_t>(); ++i)
      point.optimizer.push_back(tensor(fmt::format("optimizer.{}", i)));
    for (const auto& image : state["images"]) {
      const std::size_t n = point.results.size();
      ImageResult result;
      result.initial = detail::metrics_from(image.at("initial"));
      result.best = detail::metrics_from(image.at("best"));
      result.best_iteration = image.at("best_iteration").get<std::int64_t>();
      result.best_image = tensor(fmt::format("best_image.{}", n));
      result.best_noise = tensor(fmt::format("best_noise.{}", n));
      point.results.push_back(std::move(result));
      point.sources.push_back(tensor(fmt::format("source.{}", n)));
    }
    return point;
  } catch (const std::out_of_range&) {
    throw LoadError(fmt::format("{}: is damaged: it has no state", file.string()));
  } catch (const nlohmann::json::exception& error) {
    throw LoadError(fmt::format("{}: is damaged, or of another version ({})", file.string(), error.what()));
  }
}

}  // namespace reno
