// Sampling with a consistency model (Luo et al. 2023, "Latent Consistency Models", arXiv:2310.04378;
// diffusers: LCMScheduler): each step predicts the clean sample, and all but the last add fresh noise up to
// the next level.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <fmt/format.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "reno/error.hpp"
#include "reno/schedulers/noise_schedule.hpp"

namespace reno::schedulers {

/// The steps of one sampling run; satisfies Stochastic. Unlike Euler's, they compute in the network's dtype.
struct LCMSteps {
  /// What one step needs to know of the process.
  struct Level {
    float signal;  ///< sqrt(alphas_cumprod) at this step
    float noise;   ///< sqrt(1 - alphas_cumprod)
    float c_skip;  ///< how much of the sample goes into the result
    float c_out;   ///< how much of the prediction does
  };

  PredictionType prediction_type;
  std::optional<double> clip_range;  ///< of the predicted clean sample
  std::vector<float> timesteps;      ///< noisiest first
  std::vector<Level> levels;         ///< one per time step
  float init_noise_sigma = 1;

  std::size_t size() const { return timesteps.size(); }
  at::Tensor scale_model_input(const at::Tensor& sample, std::size_t) const { return sample; }
  bool adds_noise(std::size_t i) const { return i + 1 < size(); }

  /// To level i+1, or to the clean sample; `fresh` is unit noise where adds_noise(i).
  at::Tensor step(const at::Tensor& model_output, std::size_t i, const at::Tensor& sample,
                  const at::Tensor& fresh) const {
    auto original = predict_original(model_output, levels[i], sample);
    if (clip_range) original = original.clamp(-*clip_range, *clip_range);
    const auto denoised = original * levels[i].c_out + sample * levels[i].c_skip;
    if (!adds_noise(i)) return denoised;
    return denoised * levels[i + 1].signal + fresh * levels[i + 1].noise;
  }

 private:
  at::Tensor predict_original(const at::Tensor& output, const Level& level, const at::Tensor& x) const {
    switch (prediction_type) {
      case PredictionType::epsilon:
        return (x - output * level.noise) / level.signal;
      case PredictionType::sample:
        return output;
      case PredictionType::v_prediction:
        break;
    }
    return x * level.signal - output * level.noise;
  }
};

class LCMScheduler {
 public:
  /// Reads the file of any scheduler of the same process: the published one is stored under another name and
  /// lacks the keys of this sampler. Throws LoadError naming file and key for values that are not
  /// implemented.
  explicit LCMScheduler(const Config& config)
      : schedule_(config),
        original_inference_steps_(config.size("original_inference_steps", 50)),
        timestep_scaling_(config.get<double>("timestep_scaling", 10.0, bounds{0, 1e6})) {
    require_supported(config, {{"thresholding", "false"}});
    if (config.get<bool>("clip_sample", false))
      clip_range_ = config.get<double>("clip_sample_range", 1.0, bounds{0, 1e6});
    if (original_inference_steps_ > schedule_.num_train_timesteps)
      throw LoadError(fmt::format("{} = {} is more than num_train_timesteps = {}",
                                  config.where("original_inference_steps"), original_inference_steps_,
                                  schedule_.num_train_timesteps));
  }

  /// Every n-th of the steps that the model was distilled from. Throws ConfigurationError unless 1 <= count
  /// <= their number.
  LCMSteps set_timesteps(std::int64_t count) const {
    const std::int64_t all = original_inference_steps_;
    if (count < 1 || count > all)
      throw ConfigurationError(fmt::format("{} sampling steps are not in [1, {}]", count, all));
    std::vector<std::int64_t> timesteps;
    for (std::int64_t i = 0; i < count; ++i)
      timesteps.push_back((all - i * all / count) * (schedule_.num_train_timesteps / all) - 1);
    return at_timesteps(timesteps);
  }

  /// At time steps of the caller's choice, noisiest first. Throws ConfigurationError for one that was not
  /// trained.
  LCMSteps at_timesteps(const std::vector<std::int64_t>& timesteps) const {
    LCMSteps steps{schedule_.prediction_type, clip_range_, {}, {}};
    for (const auto timestep : timesteps) {
      if (timestep < 0 || timestep >= schedule_.num_train_timesteps)
        throw ConfigurationError(fmt::format("time step {} is not one of the {} that the model knows",
                                             timestep, schedule_.num_train_timesteps));
      steps.timesteps.push_back(static_cast<float>(timestep));
      steps.levels.push_back(level(timestep));
    }
    return steps;
  }

  const NoiseSchedule& schedule() const { return schedule_; }

 private:
  /// The boundary condition of consistency models: at time 0 the sample itself, soon after the prediction
  /// alone.
  LCMSteps::Level level(std::int64_t timestep) const {
    const float alpha = schedule_.alphas_cumprod[static_cast<std::size_t>(timestep)];
    const double t = static_cast<double>(timestep) * timestep_scaling_, data = 0.5;
    const double length = t * t + data * data;
    return {std::sqrt(alpha), std::sqrt(1 - alpha), static_cast<float>(data * data / length),
            static_cast<float>(t / std::sqrt(length))};
  }

  NoiseSchedule schedule_;
  std::int64_t original_inference_steps_;
  double timestep_scaling_;
  std::optional<double> clip_range_;
};

}  // namespace reno::schedulers
