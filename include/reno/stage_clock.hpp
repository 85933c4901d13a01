// Where the time of an iteration goes: `mark("decode")` says that what has passed since the mark before was
// decoding. On a GPU the marks are events in the stream, read after the iteration's one transfer to the host,
// so that looking costs no synchronisation of its own.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace reno {

/// Seconds by stage, in the order in which the stages were first seen.
class StageSeconds {
 public:
  void add(const std::string& stage, double seconds) {
    for (auto& [name, sum] : sums_) {
      if (name == stage) {
        sum += seconds;
        return;
      }
    }
    sums_.emplace_back(stage, seconds);
  }

  void add(const StageSeconds& other) {
    for (const auto& [stage, seconds] : other.sums_) add(stage, seconds);
  }

  const std::vector<std::pair<std::string, double>>& all() const { return sums_; }

 private:
  std::vector<std::pair<std::string, double>> sums_;
};

class StageClock {
 public:
  /// synchronize: wait for the device at every mark. Each stage then has the time it takes alone, and the
  /// whole takes longer.
  explicit StageClock(c10::Device device, bool synchronize = false)
      : device_(device), synchronize_(synchronize) {}

  /// What follows belongs to the next mark.
  void start() {
    moments_.clear();
    moments_.push_back(now(""));
  }

  /// What has passed since the last mark, or the start, was `stage`.
  void mark(std::string stage) {
    if (!moments_.empty()) moments_.push_back(now(std::move(stage)));
  }

  /// Seconds by stage since the start. The device must have done the work: after a transfer to the host.
  StageSeconds take() {
    StageSeconds seconds;
    for (std::size_t i = 1; i < moments_.size(); ++i)
      seconds.add(moments_[i].stage, between(moments_[i - 1], moments_[i]));
    moments_.clear();
    return seconds;
  }

 private:
  friend class PausedClock;
  using Clock = std::chrono::steady_clock;

  struct Moment {
    std::string stage;  ///< that ends here
    Clock::time_point host;
    c10::Event device{c10::DeviceType::CPU};
  };

  bool by_events() const { return device_.is_cuda() && !synchronize_; }

  Moment now(std::string stage) const {
    Moment moment{std::move(stage), {}};
    if (device_.is_cuda()) {
      const c10::impl::VirtualGuardImpl device(device_.type());
      if (synchronize_) {
        device.synchronizeDevice(device_.index());
      } else {
        moment.device = c10::Event(device_.type(), c10::EventFlag::BACKEND_DEFAULT);
        moment.device.record(device.getStream(device_));
      }
    }
    moment.host = Clock::now();
    return moment;
  }

  double between(const Moment& from, const Moment& to) const {
    constexpr double milliseconds = 1e-3;
    if (by_events()) return from.device.elapsedTime(to.device) * milliseconds;
    return std::chrono::duration<double>(to.host - from.host).count();
  }

  c10::Device device_;
  bool synchronize_;
  std::vector<Moment> moments_;
};

/// As long as it lives, marks on the clock, which may be null, say nothing: while work is recorded, no time
/// of it passes.
class PausedClock {
 public:
  explicit PausedClock(std::shared_ptr<StageClock> clock) : clock_(std::move(clock)) {
    if (clock_) moments_.swap(clock_->moments_);
  }
  PausedClock(const PausedClock&) = delete;
  PausedClock& operator=(const PausedClock&) = delete;
  ~PausedClock() {
    if (clock_) moments_.swap(clock_->moments_);
  }

 private:
  std::shared_ptr<StageClock> clock_;
  std::vector<StageClock::Moment> moments_;
};

/// Marks on a clock that may not be there.
inline void mark_stage(const std::shared_ptr<StageClock>& clock, std::string stage) {
  if (clock) clock->mark(std::move(stage));
}

/// Marks `stage` when the gradient with respect to x is there: what was made from x has then been gone back
/// through. Does nothing when x has no graph.
inline void mark_gradient(const std::shared_ptr<StageClock>& clock, const at::Tensor& x, std::string stage) {
  if (clock && x.requires_grad())
    x.register_hook([clock, stage = std::move(stage)](const at::Tensor&) { clock->mark(stage); });
}

}  // namespace reno
