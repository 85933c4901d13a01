// All that moves while a batch is worked on, and how it is put away and taken up again.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "reno/component.hpp"
#include "reno/run/noise.hpp"
#include "reno/run/resume_point.hpp"
#include "reno/run/samples.hpp"

namespace reno {

struct BatchWork {
  Batch batch;
  std::vector<NoiseSource> sources;       ///< one per image
  std::optional<AnyOptimizer> optimizer;  ///< none where all noise is drawn afresh
  at::Tensor initial_noise;               ///< (N, ...)
  at::Tensor noise;                       ///< (N, ...)
  std::vector<ImageResult> results;
  std::int64_t iteration = 0;  ///< that comes next

  Prompts texts() const {
    Prompts texts;
    for (const auto& sample : batch.samples) texts.push_back(sample.prompt.text);
    return texts;
  }

  /// Fresh noise, one (1, ...) per image.
  std::vector<at::Tensor> draw() {
    std::vector<at::Tensor> fresh;
    for (auto& source : sources) fresh.push_back(source.draw());
    return fresh;
  }

  /// (N, ...)
  at::Tensor best_noise() const {
    std::vector<at::Tensor> best;
    for (const auto& result : results) best.push_back(result.best_noise);
    return at::stack(best);
  }

  ResumePoint point() const {
    ResumePoint point;
    point.batch = batch.index;
    point.iteration = iteration;
    point.noise = noise;
    point.results = results;
    if (optimizer) point.optimizer = optimizer->state();
    for (const auto& source : sources) point.sources.push_back(source.state());
    return point;
  }

  void restore(const ResumePoint& point, c10::Device device) {
    iteration = point.iteration;
    noise = point.noise.to(device);
    if (optimizer) optimizer->restore(point.optimizer);
    for (std::size_t n = 0; n < sources.size(); ++n) sources[n].restore(point.sources.at(n));
    results = point.results;
    for (auto& result : results) {
      result.best_image = result.best_image.to(device);
      result.best_noise = result.best_noise.to(device);
    }
  }
};

}  // namespace reno
