// Euler's method on a rectified flow (Liu et al. 2022, arXiv:2209.03003; diffusers:
// FlowMatchEulerDiscreteScheduler): straight lines from noise to data, along which the network predicts the
// velocity.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "reno/error.hpp"
#include "reno/io/supported_config.hpp"

namespace reno::schedulers {

/// The steps of one sampling run; fits `denoise`.
struct FlowMatchEulerSteps {
  std::vector<float> timesteps;  ///< noisiest first
  std::vector<float> sigmas;     ///< share of noise; one more than time steps: the last is 0
  float init_noise_sigma = 1;

  std::size_t size() const { return timesteps.size(); }

  /// The network takes the sample as it is.
  at::Tensor scale_model_input(const at::Tensor& sample, std::size_t) const { return sample; }

  /// From sigma_i to sigma_{i+1} along the predicted velocity. The sum runs in float32 at least and is
  /// rounded to the network's dtype; the product stays in its dtype.
  at::Tensor step(const at::Tensor& model_output, std::size_t i, const at::Tensor& sample) const {
    const auto x = sample.scalar_type() == at::kDouble ? sample : sample.to(at::kFloat);
    return (x + (sigmas[i + 1] - sigmas[i]) * model_output).to(model_output.scalar_type());
  }
};

class FlowMatchEulerScheduler {
 public:
  /// Throws LoadError naming file and key for values that are not implemented.
  explicit FlowMatchEulerScheduler(const Config& config)
      : num_train_timesteps_(config.size("num_train_timesteps", 1000)),
        shift_(config.get<double>("shift", 1.0, bounds{1e-3, 1e3})) {
    require_supported(config, {{"use_dynamic_shifting", "false"},
                               {"shift_terminal", "null"},
                               {"stochastic_sampling", "false"},
                               {"invert_sigmas", "false"},
                               {"use_karras_sigmas", "false"},
                               {"use_exponential_sigmas", "false"},
                               {"use_beta_sigmas", "false"}});
  }

  /// `count` equal steps from 1 down to 1 / count, shifted, and then to 0. Throws ConfigurationError unless
  /// 1 <= count <= num_train_timesteps.
  FlowMatchEulerSteps set_timesteps(std::int64_t count) const {
    if (count < 1 || count > num_train_timesteps_)
      throw ConfigurationError(
          fmt::format("{} sampling steps are not in [1, {}]", count, num_train_timesteps_));
    const double last = 1 / static_cast<double>(count);
    const double step = count == 1 ? 0 : (last - 1) / static_cast<double>(count - 1);
    FlowMatchEulerSteps steps;
    for (std::int64_t i = 0; i < count; ++i) {
      const double even = i > 0 && i + 1 == count ? last : 1 + static_cast<double>(i) * step;
      steps.sigmas.push_back(static_cast<float>(shift_ * even / (1 + (shift_ - 1) * even)));
      steps.timesteps.push_back(steps.sigmas.back() * static_cast<float>(num_train_timesteps_));
    }
    steps.sigmas.push_back(0);
    return steps;
  }

 private:
  std::int64_t num_train_timesteps_;
  double shift_;
};

}  // namespace reno::schedulers
