// The last word where the loop went by a generator's previews: the images of the noise before and after, by
// the generator's own decoder, and what the rewards say of those.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/stack.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "reno/loop.hpp"

namespace reno {

/// `results` as the loop left them; with a generator that makes no previews they stay as they are, and so
/// they do when the loop ended before it had any. initial_noise: (N, ...).
inline std::vector<ImageResult> finish(const Objective& objective, const EncodedPrompts& prompts,
                                       const at::Tensor& initial_noise, std::vector<ImageResult> results) {
  const auto has_noise = [](const ImageResult& result) { return result.best_noise.defined(); };
  if (!objective.generator().previews() || !std::all_of(results.begin(), results.end(), has_noise))
    return results;
  std::vector<at::Tensor> noises;
  for (const auto& result : results) noises.push_back(result.best_noise);
  const auto measure = [&](const at::Tensor& noise) {
    const Measurement measurement = objective.measure_finished(noise, prompts);
    return std::pair(detail::to_host(measurement, objective.rewards(), 0), measurement.images);
  };
  const auto [initial, initial_images] = measure(initial_noise);
  const auto [best, best_images] = measure(at::stack(noises));
  for (std::size_t n = 0; n < results.size(); ++n) {
    auto& result = results[n];
    const auto row = static_cast<std::int64_t>(n);
    result.previewed = {std::exchange(result.initial, initial[n]), std::exchange(result.best, best[n])};
    result.initial_image = initial_images[row];
    result.best_image = best_images[row];
  }
  return results;
}

}  // namespace reno
