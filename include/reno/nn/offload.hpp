// Weights that are not always needed wait on the host and visit the device while they work, forwards and
// backwards: a text encoder once per prompt, and in the memory mode `lean` also a denoiser twice in an
// iteration and a reward once.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "reno/context.hpp"
#include "reno/io/tensor_source.hpp"
#include "reno/io/weights.hpp"
#include "reno/nn/checkpoint.hpp"

namespace reno::nn {

/// How often weights are used. Those of every iteration wait on the host in the mode `lean` only, and there
/// in page-locked memory, from which a GPU fetches them several times as fast; the others in `balanced` too.
enum class Visits { once_per_prompt, every_iteration };

/// True where weights stay on the device between their uses.
inline bool stay_on_device(MemoryMode memory, Visits visits) {
  return memory == MemoryMode::fast || (memory == MemoryMode::balanced && visits == Visits::every_iteration);
}

/// A unit of weights that lives on the run's device, or on the host while it is not in use. A cheap value:
/// copies are the same unit. On the CPU, where host and device are one, weights of every iteration stay, and
/// those of prompts wait in their file.
class Offload {
 public:
  Offload(std::shared_ptr<const TensorSource> source, const Context& context, Visits visits)
      : stays_(stay_on_device(context.memory, visits)),
        place_(std::make_shared<Place>(std::move(source), context, stays_, visits)) {
    if (!stays_) place_->go_home();
  }

  /// The scope to build networks from.
  const Weights& weights() const { return place_->weights; }

  /// Calls `use` while the weights are on the device and returns its result, which must need no gradient.
  template <class Use>
  auto during(Use&& use) const {
    const auto visit = arrive();
    return std::forward<Use>(use)();
  }

  /// run(x), where the weights stay on the device as long as the result's graph lives: for what is gone back
  /// through at once.
  template <class Run>
  at::Tensor keeping_graph(const at::Tensor& x, const Run& run) const {
    const auto visit = arrive();
    if (stays_ || !at::GradMode::is_enabled() || !x.requires_grad()) return run(x);
    const at::Tensor alias = x.view_as(x);  // a node of this graph, which can hold the visit
    alias.register_hook([visit](const at::Tensor&) {});
    return run(alias);
  }

  /// run(x), where neither graph nor weights stay, if these wait on the host: on the way back the weights
  /// come again, and so does the graph, for one more forward pass. `run` holds what else it needs, and does
  /// the same whenever it is called.
  template <class Run>
  at::Tensor rebuilding_graph(const at::Tensor& x, const Run& run) const {
    if (stays_) return run(x);
    const auto block = [run](const std::vector<at::Tensor>& in) { return std::vector{run(in.front())}; };
    return checkpoint(/*recompute=*/true, std::vector{x}, block, [self = *this] { return self.arrive(); })[0];
  }

 private:
  /// Where the weights are; shared with the visits under way, which may end on another thread.
  struct Place {
    Place(std::shared_ptr<const TensorSource> source, const Context& context, bool stays, Visits visits)
        : device(context.device),
          every_iteration(visits == Visits::every_iteration),
          weights(Weights(std::move(source), stays || device.is_meta() ? device : at::Device(at::kCPU),
                          context.dtype)
                      .working_on(device)) {}

    /// All of them or, when there is no room, none.
    void come() const {
      try {
        if (has_host()) return weights.to(device, /*lock_pages=*/every_iteration);
        if (waits()) weights.set_away(false);
      } catch (...) {
        go_home();
        throw;
      }
    }

    void go_home() const {
      if (has_host()) return weights.to(at::kCPU);
      if (waits()) weights.set_away(true);
    }

    bool has_host() const { return !device.is_cpu() && !device.is_meta(); }

    /// Whether weights wait where there is no host: those of a rehearsal are merely not counted, and from the
    /// file it would take too long in every iteration.
    bool waits() const { return device.is_meta() || !every_iteration; }

    at::Device device;
    bool every_iteration;
    Weights weights;
    std::mutex mutex;
    int visits = 0;
  };

  /// The weights are on the device as long as what this returns lives. Null when they always are.
  std::shared_ptr<void> arrive() const {
    if (stays_) return nullptr;
    const std::scoped_lock lock(place_->mutex);
    if (place_->visits == 0) place_->come();
    ++place_->visits;
    return {place_.get(), [place = place_](void*) {
              const std::scoped_lock leaving(place->mutex);
              if (--place->visits == 0) place->go_home();
            }};
  }

  bool stays_;
  std::shared_ptr<Place> place_;
};

}  // namespace reno::nn
