// The noise that stochastic samplers add between their steps: from a stream of its own, seeded with the run's
// seed and drawn on the CPU, so that it is the same on every device.
#pragma once

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/randn.h>

#include <cstdint>

namespace reno::schedulers {

/// A FreshNoise. Every image of a batch gets the same noise: that of a batch of one, so that an image does
/// not depend on those beside it.
class SamplerNoise {
 public:
  explicit SamplerNoise(std::uint64_t seed) : generator_(at::detail::createCPUGenerator(seed)) {}

  at::Tensor operator()(const at::Tensor& sample) {
    auto shape = sample.sizes().vec();
    shape.front() = 1;
    return at::randn(shape, generator_, at::TensorOptions(at::kFloat)).to(sample.options()).expand_as(sample);
  }

 private:
  at::Generator generator_;
};

}  // namespace reno::schedulers
