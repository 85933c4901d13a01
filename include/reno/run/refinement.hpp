// `[refine]`: images of several steps from the noise before and after, and what the rewards say of them.
#pragma once

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "reno/error.hpp"
#include "reno/experiment/experiment.hpp"
#include "reno/loop.hpp"
#include "reno/objective.hpp"

namespace reno {

/// Images from one noise for each element of a batch.
struct RefinedImages {
  at::Tensor images;                  ///< (N,3,H,W)
  std::vector<ImageMetrics> metrics;  ///< scores, losses and total; nothing of the noise
};

struct Refinement {
  RefinedImages initial;
  RefinedImages best;
};

namespace detail {

inline std::vector<ImageMetrics> judged(const Objective& objective, const at::Tensor& images,
                                        const EncodedPrompts& prompts) {
  const Measurement measurement = objective.judge(images, prompts);
  std::vector<at::Tensor> columns = {measurement.total};
  columns.insert(columns.end(), measurement.scores.begin(), measurement.scores.end());
  const at::Tensor table = at::stack(columns, 1).to(at::kCPU, at::kDouble).contiguous();
  std::vector<ImageMetrics> all(static_cast<std::size_t>(images.size(0)));
  for (std::size_t n = 0; n < all.size(); ++n) {
    const double* row = table.const_data_ptr<double>() + static_cast<std::int64_t>(n) * table.size(1);
    all[n].total = row[0];
    for (std::size_t k = 0; k < objective.rewards().size(); ++k) {
      const auto& term = objective.rewards()[k];
      if (!std::isfinite(row[1 + k]))
        throw RunError(fmt::format("the score of reward '{}' is {} for a refined image", term.name,
                                   std::isnan(row[1 + k]) ? "NaN" : "infinite"));
      all[n].scores.push_back(row[1 + k]);
      all[n].losses.push_back(term.reward.ceiling() - row[1 + k]);
    }
  }
  return all;
}

}  // namespace detail

/// noise: (N, ...) each. Throws RunError for a score that is no number.
inline Refinement refine(const Objective& objective, const EncodedPrompts& prompts,
                         const RefineOptions& options, const at::Tensor& initial_noise,
                         const at::Tensor& best_noise) {
  const at::NoGradGuard no_grad;
  const auto from = [&](const at::Tensor& noise) {
    RefinedImages refined;
    refined.images =
        objective.generator().refine(noise, prompts.conditioning, options.steps, options.guidance);
    refined.metrics = detail::judged(objective, refined.images, prompts);
    return refined;
  };
  return {from(initial_noise), from(best_noise)};
}

}  // namespace reno
