// Weights that are needed now and then, such as a text encoder's, which runs once per prompt: in the memory
// mode `lean` they wait on the host.
#pragma once

#include <memory>
#include <utility>

#include "reno/context.hpp"
#include "reno/io/tensor_source.hpp"
#include "reno/io/weights.hpp"

namespace reno::nn {

/// A unit of weights that lives on the run's device, or on the host while it is not in use.
class Offload {
 public:
  Offload(std::shared_ptr<const TensorSource> source, const Context& context)
      : device_(context.device),
        home_(context.memory == MemoryMode::lean && !context.device.is_meta() ? at::Device(at::kCPU)
                                                                              : context.device),
        weights_(std::move(source), home_, context.dtype) {}

  /// The scope to build networks from.
  const Weights& weights() const { return weights_; }

  /// Calls `use` while the weights are on the device and returns its result. When it throws, they stay there.
  template <class Use>
  auto during(Use&& use) const {
    weights_.to(device_);
    auto result = std::forward<Use>(use)();
    weights_.to(home_);
    return result;
  }

 private:
  at::Device device_;
  at::Device home_;
  Weights weights_;
};

}  // namespace reno::nn
