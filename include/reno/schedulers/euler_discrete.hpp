// Euler's method on the probability-flow ODE in terms of sigma = noise / signal (Karras et al. 2022,
// algorithm 1 without churn; diffusers: EulerDiscreteScheduler). One step from pure noise is how the "turbo"
// models sample.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "reno/io/supported_config.hpp"
#include "reno/schedulers/noise_schedule.hpp"

namespace reno::schedulers {

/// The steps of one sampling run. All numbers are on the host, in float32 like the reference, so that nothing
/// waits for a device.
struct EulerDiscreteSteps {
  PredictionType prediction_type;
  std::vector<float> timesteps;  ///< noisiest first
  std::vector<float> sigmas;     ///< one more than time steps: the level that each step leaves, and the last
  float init_noise_sigma;        ///< what unit noise is multiplied by at the start

  std::size_t size() const { return timesteps.size(); }

  /// The sample as the network wants it at step i: unit variance.
  at::Tensor scale_model_input(const at::Tensor& sample, std::size_t i) const {
    return sample / std::sqrt(sigmas[i] * sigmas[i] + 1);
  }

  /// From sigma_i to sigma_{i+1}, given what the network predicted. The update runs in float32 at least and
  /// is rounded to the network's dtype; products of the network's output and a number stay in its dtype.
  at::Tensor step(const at::Tensor& model_output, std::size_t i, const at::Tensor& sample) const {
    return moved(model_output, i, sample, sigmas[i + 1]).to(model_output.scalar_type());
  }

 protected:
  /// From sigma_i to `target`, in float32 at least.
  at::Tensor moved(const at::Tensor& model_output, std::size_t i, const at::Tensor& sample,
                   float target) const {
    const float sigma = sigmas[i];
    const auto x = sample.scalar_type() == at::kDouble ? sample : sample.to(at::kFloat);
    const auto derivative = (x - predict_original(model_output, sigma, x)) / sigma;
    return x + derivative * (target - sigma);
  }

 private:
  at::Tensor predict_original(const at::Tensor& output, float sigma, const at::Tensor& x) const {
    switch (prediction_type) {
      case PredictionType::epsilon:
        return x - output * sigma;
      case PredictionType::sample:
        return output;
      case PredictionType::v_prediction:
        break;
    }
    const float variance = sigma * sigma + 1;
    return output * (-sigma / std::sqrt(variance)) + x / variance;
  }
};

class EulerDiscreteScheduler {
 public:
  /// Throws LoadError naming file and key for values that are not implemented.
  explicit EulerDiscreteScheduler(const Config& config)
      : schedule_(config),
        final_sigma_is_zero_(
            named_value<bool>(config, "final_sigmas_type", "zero", {{"zero", true}, {"sigma_min", false}})) {
    require_supported(config, {{"interpolation_type", R"("linear")"},
                               {"use_karras_sigmas", "false"},
                               {"use_exponential_sigmas", "false"},
                               {"use_beta_sigmas", "false"},
                               {"timestep_type", R"("discrete")"},
                               {"sigma_min", "null"},
                               {"sigma_max", "null"}});
    for (const float alpha : schedule_.alphas_cumprod) sigmas_.push_back(std::sqrt((1 - alpha) / alpha));
  }

  /// Throws ConfigurationError unless 1 <= count <= num_train_timesteps.
  EulerDiscreteSteps set_timesteps(std::int64_t count) const {
    EulerDiscreteSteps steps{schedule_.prediction_type, schedule_.timesteps(count), {}, 0};
    for (const float t : steps.timesteps) steps.sigmas.push_back(interpolated(t));
    steps.sigmas.push_back(final_sigma_is_zero_ ? 0.0F : sigmas_.front());
    const float largest = *std::max_element(steps.sigmas.begin(), steps.sigmas.end());
    const bool starts_at_pure_noise = schedule_.timestep_spacing != TimestepSpacing::leading;
    steps.init_noise_sigma = starts_at_pure_noise ? largest : std::sqrt(largest * largest + 1);
    return steps;
  }

  const NoiseSchedule& schedule() const { return schedule_; }

 private:
  /// Sigma at a fractional time step; constant beyond the trained ones.
  float interpolated(double t) const {
    const double last = static_cast<double>(sigmas_.size() - 1);
    const double clamped = std::clamp(t, 0.0, last);
    const auto below = static_cast<std::size_t>(clamped);
    if (clamped == last) return sigmas_.back();
    const double low = sigmas_[below], high = sigmas_[below + 1];
    return static_cast<float>((high - low) * (clamped - static_cast<double>(below)) + low);
  }

  NoiseSchedule schedule_;
  std::vector<float> sigmas_;  // of every trained time step
  bool final_sigma_is_zero_;
};

}  // namespace reno::schedulers
