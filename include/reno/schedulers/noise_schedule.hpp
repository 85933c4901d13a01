// The discrete diffusion process that the samplers share: its signal levels (Ho et al. 2020), and which of
// the trained time steps a run of few steps visits (Lin et al. 2023, table 2). Read from a
// scheduler_config.json; defaults are diffusers'.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/ops/cumprod.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/tensor.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "reno/error.hpp"
#include "reno/io/supported_config.hpp"

namespace reno::schedulers {

/// What the network predicts: the noise, the clean sample, or the velocity (Salimans & Ho 2022).
enum class PredictionType { epsilon, sample, v_prediction };

/// How few steps are spread over the trained ones: both ends; from the low end; from the noisy end.
enum class TimestepSpacing { linspace, leading, trailing };

/// The trained diffusion process and how to spread steps over it.
struct NoiseSchedule {
  std::int64_t num_train_timesteps;
  std::vector<float> alphas_cumprod;  ///< share of the signal's variance left after each trained step
  PredictionType prediction_type;
  TimestepSpacing timestep_spacing;
  std::int64_t steps_offset;

  /// Throws LoadError naming file and key. Keys of other samplers are ignored: published schedules are stored
  /// under the name of one sampler and read by another.
  explicit NoiseSchedule(const Config& config)
      : num_train_timesteps(config.size("num_train_timesteps", 1000)),
        alphas_cumprod(read_alphas_cumprod(config, num_train_timesteps)),
        prediction_type(named_value<PredictionType>(config, "prediction_type", "epsilon",
                                                    {{"epsilon", PredictionType::epsilon},
                                                     {"sample", PredictionType::sample},
                                                     {"v_prediction", PredictionType::v_prediction}})),
        timestep_spacing(named_value<TimestepSpacing>(config, "timestep_spacing", "linspace",
                                                      {{"linspace", TimestepSpacing::linspace},
                                                       {"leading", TimestepSpacing::leading},
                                                       {"trailing", TimestepSpacing::trailing}})),
        steps_offset(config.get<std::int64_t>("steps_offset", 0, bounds{0, 1 << 20})) {}

  /// The time steps that a run of `count` steps visits, noisiest first; fractional where linspace does not
  /// divide. Throws ConfigurationError unless 1 <= count <= num_train_timesteps.
  std::vector<float> timesteps(std::int64_t count) const {
    if (count < 1 || count > num_train_timesteps)
      throw ConfigurationError(
          fmt::format("{} sampling steps are not in [1, {}]", count, num_train_timesteps));
    const auto train = static_cast<double>(num_train_timesteps);
    const auto n = static_cast<double>(count);
    std::vector<float> steps;
    for (std::int64_t i = 0; i < count; ++i) {
      const auto at = static_cast<double>(i);
      switch (timestep_spacing) {
        case TimestepSpacing::linspace:  // the last one exactly, and 0 alone for a single step
          steps.push_back(static_cast<float>(
              i + 1 == count && count > 1 ? train - 1 : at * ((train - 1) / std::max(n - 1, 1.0))));
          break;
        case TimestepSpacing::leading:
          steps.push_back(static_cast<float>(i * (num_train_timesteps / count) + steps_offset));
          break;
        case TimestepSpacing::trailing:  // from the noisy end; rounds halves to even
          steps.push_back(static_cast<float>(std::nearbyint(train - (n - 1 - at) * (train / n)) - 1));
          break;
      }
    }
    std::reverse(steps.begin(), steps.end());
    return steps;
  }

 private:
  static at::Tensor read_betas(const Config& config, std::int64_t count) {
    const at::TensorOptions host(at::kFloat);
    if (config.has("trained_betas")) {
      const auto betas = config.get<std::vector<double>>("trained_betas", bounds{0, 1});
      if (static_cast<std::int64_t>(betas.size()) != count)
        throw LoadError(fmt::format("{} has {} elements, but num_train_timesteps = {}",
                                    config.where("trained_betas"), betas.size(), count));
      return at::tensor(betas, host);
    }
    const auto start = config.get<double>("beta_start", 0.0001, bounds{0, 1});
    const auto end = config.get<double>("beta_end", 0.02, bounds{0, 1});
    using Make = at::Tensor (*)(double, double, std::int64_t);
    const auto make = named_value<Make>(
        config, "beta_schedule", "linear",
        {{"linear",
          [](double from, double to, std::int64_t n) { return at::linspace(from, to, n, at::kFloat); }},
         {"scaled_linear", [](double from, double to, std::int64_t n) {
            return at::linspace(std::sqrt(from), std::sqrt(to), n, at::kFloat).square();
          }}});
    return make(start, end, count);
  }

  static std::vector<float> read_alphas_cumprod(const Config& config, std::int64_t count) {
    if (config.get<bool>("rescale_betas_zero_snr", false))
      throw LoadError(config.where("rescale_betas_zero_snr") + " = true is not supported, expected false");
    const auto product = at::cumprod(1 - read_betas(config, count), 0);
    const float* values = product.const_data_ptr<float>();
    return {values, values + product.numel()};
  }
};

}  // namespace reno::schedulers
