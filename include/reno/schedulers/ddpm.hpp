// The denoising diffusion process (Ho et al. 2020; diffusers: DDPMScheduler) as far as one step needs it: the
// clean sample that the network's output at some time step stands for.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>

#include <cmath>
#include <cstdint>
#include <optional>

#include "reno/error.hpp"
#include "reno/io/supported_config.hpp"
#include "reno/schedulers/noise_schedule.hpp"

namespace reno::schedulers {

class DDPMScheduler {
 public:
  /// Throws LoadError naming file and key for values that are not implemented.
  explicit DDPMScheduler(const Config& config) : schedule_(config) {
    require_supported(config, {{"thresholding", "false"}});
    if (config.get<bool>("clip_sample", true))
      clip_range_ = config.get<double>("clip_sample_range", 1.0, bounds{0, 1e6});
  }

  /// diffusers' `pred_original_sample`, in the dtype of the sample. Throws ConfigurationError for a time step
  /// that was not trained.
  at::Tensor predict_original(const at::Tensor& model_output, std::int64_t timestep,
                              const at::Tensor& sample) const {
    if (timestep < 0 || timestep >= schedule_.num_train_timesteps)
      throw ConfigurationError(
          fmt::format("time step {} is not in [0, {})", timestep, schedule_.num_train_timesteps));
    const float alpha = schedule_.alphas_cumprod[static_cast<std::size_t>(timestep)];
    const auto original = unclipped(model_output, std::sqrt(alpha), std::sqrt(1 - alpha), sample);
    return clip_range_ ? original.clamp(-*clip_range_, *clip_range_) : original;
  }

  const NoiseSchedule& schedule() const { return schedule_; }

 private:
  at::Tensor unclipped(const at::Tensor& output, float signal, float noise, const at::Tensor& sample) const {
    switch (schedule_.prediction_type) {
      case PredictionType::epsilon:
        return (sample - noise * output) / signal;
      case PredictionType::sample:
        return output;
      case PredictionType::v_prediction:
        break;
    }
    return signal * sample - noise * output;
  }

  NoiseSchedule schedule_;
  std::optional<double> clip_range_;
};

}  // namespace reno::schedulers
