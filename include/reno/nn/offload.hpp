// Weights that are needed now and then, such as a text encoder's, which runs once per prompt: in the memory
// mode `lean` they wait on the host.
#pragma once

#include <memory>
#include <utility>

#include "reno/context.hpp"
#include "reno/io/tensor_source.hpp"
#include "reno/io/weights.hpp"

namespace reno::nn {

/// A unit of weights that lives on the run's device, or in the mode `lean` on the host while it is not in
/// use.
class Offload {
 public:
  Offload(std::shared_ptr<const TensorSource> source, const Context& context)
      : device_(context.device),
        lean_(context.memory == MemoryMode::lean),
        weights_(std::move(source), lean_ && !device_.is_meta() ? at::Device(at::kCPU) : device_,
                 context.dtype) {
    go_home();
  }

  /// The scope to build networks from.
  const Weights& weights() const { return weights_; }

  /// Calls `use` while the weights are on the device and returns its result. When it throws, they stay there.
  template <class Use>
  auto during(Use&& use) const {
    weights_.to(device_);
    weights_.set_away(false);
    auto result = std::forward<Use>(use)();
    go_home();
    return result;
  }

 private:
  /// A rehearsal has no host: there the weights are merely not counted.
  void go_home() const {
    if (!lean_) return;
    device_.is_meta() ? weights_.set_away(true) : weights_.to(at::kCPU);
  }

  at::Device device_;
  bool lean_;
  Weights weights_;
};

}  // namespace reno::nn
