// Euler's method that steps below the next noise level and adds fresh noise up to it (Karras et al. 2022 call
// it ancestral sampling; diffusers: EulerAncestralDiscreteScheduler). One step is the same as Euler's: the
// last level is 0, up to which there is nothing to add.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "reno/schedulers/euler_discrete.hpp"

namespace reno::schedulers {

/// The steps of one sampling run; satisfies Stochastic.
struct EulerAncestralDiscreteSteps : EulerDiscreteSteps {
  bool adds_noise(std::size_t i) const { return sigmas[i + 1] > 0; }

  /// From sigma_i to sigma_{i+1}; `fresh` is unit noise in the network's dtype where adds_noise(i).
  at::Tensor step(const at::Tensor& model_output, std::size_t i, const at::Tensor& sample,
                  const at::Tensor& fresh) const {
    const float from = sigmas[i] * sigmas[i], to = sigmas[i + 1] * sigmas[i + 1];
    const float added = to * (from - to) / from;  // variances
    auto next = moved(model_output, i, sample, std::sqrt(to - added));
    if (adds_noise(i)) next = next + fresh * std::sqrt(added);
    return next.to(model_output.scalar_type());
  }
};

class EulerAncestralDiscreteScheduler {
 public:
  /// Reads the file of any scheduler of the same process. Throws LoadError naming file and key for values
  /// that are not implemented.
  explicit EulerAncestralDiscreteScheduler(const Config& config) : euler_(config) {
    require_supported(config, {{"final_sigmas_type", R"("zero")"}});
  }

  /// Throws ConfigurationError unless 1 <= count <= num_train_timesteps.
  EulerAncestralDiscreteSteps set_timesteps(std::int64_t count) const {
    return {euler_.set_timesteps(count)};
  }

  const NoiseSchedule& schedule() const { return euler_.schedule(); }

 private:
  EulerDiscreteScheduler euler_;
};

}  // namespace reno::schedulers
