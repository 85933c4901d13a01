// What the scopes of one checkpoint share: its source, the device it lives on, and the tensors that it handed
// out. Networks hold those very tensors, so that replacing their storage moves the whole component between
// host and device without the networks' knowledge.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "reno/io/convert.hpp"
#include "reno/io/invented_source.hpp"
#include "reno/io/packed_memory.hpp"
#include "reno/io/tensor_source.hpp"

namespace reno {

/// Shared by all `Weights` of one checkpoint; thread-safe. Names here are stored names.
class WeightsUnit {
 public:
  using Make = std::function<at::Tensor(const at::Tensor&)>;

  WeightsUnit(std::shared_ptr<const TensorSource> source, at::Device device)
      : source_(std::move(source)),
        inventor_(dynamic_cast<const InventedSource*>(source_.get())),
        names_(source_->names()),
        device_(device) {
    std::sort(names_.begin(), names_.end());
  }

  const TensorSource& source() const { return *source_; }

  /// Whether any tensor can be asked for, in any shape.
  bool open_ended() const { return inventor_ != nullptr && inventor_->open_ended(); }

  at::Device device() const {
    const std::scoped_lock lock(mutex_);
    return device_;
  }

  /// The names that begin with `prefix`, sorted.
  std::span<const std::string> below(std::string_view prefix) const {
    const auto first = std::lower_bound(names_.begin(), names_.end(), prefix);
    const auto last =
        std::partition_point(first, names_.end(), [&](const auto& name) { return name.starts_with(prefix); });
    return {first, last};
  }

  /// The names below `prefix` that were never handed out.
  std::vector<std::string> unused(std::string_view prefix) const {
    const std::scoped_lock lock(mutex_);
    std::vector<std::string> unused;
    for (const auto& name : below(prefix))
      if (!asked_.contains(name)) unused.push_back(name);
    return unused;
  }

  /// The tensor (which must exist, in that shape) on the unit's device; floating tensors in `dtype`. The same
  /// one as before while it lives.
  at::Tensor hand_out(const std::string& name, at::IntArrayRef shape, at::ScalarType dtype) {
    const std::scoped_lock lock(mutex_);
    asked_.insert(name);
    auto& known = handed_out_.try_emplace(std::pair(name, dtype), at::Tensor()).first->second;
    if (const at::Tensor tensor(known.weak.lock()); tensor.defined() && tensor.sizes() == shape)
      return tensor;
    auto tensor = fetch(name, shape, dtype);
    known = Given(tensor);
    return tensor;
  }

  /// What `make` makes of that tensor, in which form alone it is kept.
  at::Tensor derive(const std::string& name, at::IntArrayRef shape, at::ScalarType dtype, const Make& make) {
    auto tensor = make(hand_out(name, shape, dtype));
    const std::scoped_lock lock(mutex_);
    if (away_) tensor = stand_in(tensor.sizes(), tensor.scalar_type());
    derived_.push_back({name, shape.vec(), dtype, make, Given(tensor)});
    return tensor;
  }

  /// Whether the tensors wait meanwhile: on the CPU in their file, from which they are read again when they
  /// come back; on the meta device elsewhere, so that a rehearsal counts what a device would really hold.
  /// They keep shape and dtype and take no memory. On the CPU invented ones stay.
  void set_away(bool away) {
    const std::scoped_lock lock(mutex_);
    if (away == away_ || (inventor_ != nullptr && !device_.is_meta())) return;
    away_ = away;
    for (auto& [key, given] : handed_out_)
      if (const at::Tensor tensor(given.weak.lock()); tensor.defined())
        tensor.set_data(away ? stand_in(tensor.sizes(), tensor.scalar_type())
                             : fetch(key.first, tensor.sizes(), key.second));
    for (auto& [name, shape, dtype, make, given] : derived_)
      if (const at::Tensor tensor(given.weak.lock()); tensor.defined())
        tensor.set_data(away ? stand_in(tensor.sizes(), tensor.scalar_type())
                             : make(fetch(name, shape, dtype)));
  }

  /// Moves all tensors that are still in use, in place. What leaves the CPU keeps its memory there, for the
  /// way back: nothing writes to weights. `lock_pages`: the first time that they go to a GPU, that memory is
  /// replaced by page-locked memory.
  void move(at::Device target, bool lock_pages) {
    const std::scoped_lock lock(mutex_);
    device_ = target;
    std::optional<PackedMemory> locked;
    if (lock_pages && target.is_cuda() && !std::exchange(locked_, true))
      locked.emplace(packed_size(), at::TensorOptions().pinned_memory(true));
    for_each_given([&](Given& given, const at::Tensor& tensor) {
      if (locked && tensor.is_cpu()) given.home = locked->copy(tensor);
      given.move(tensor, target);
    });
  }

 private:
  /// A tensor that networks hold, and may let go of.
  struct Given {
    explicit Given(const at::Tensor& tensor) : weak(tensor.getIntrusivePtr()) {}

    void move(const at::Tensor& tensor, at::Device target) {
      if (target.is_cpu() && home.defined()) return tensor.set_data(home);
      if (tensor.device() == target) return;
      if (!tensor.is_cpu()) return tensor.set_data(tensor.to(target));
      if (!home.defined()) home = tensor.detach();
      // The host goes on at once; what works with the tensor stands behind the copy in the stream.
      tensor.set_data(home.to(at::TensorOptions(target), /*non_blocking=*/true));
    }

    c10::weak_intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl> weak;
    at::Tensor home;  ///< the same on the CPU, once it has been elsewhere
  };

  struct Derived {
    std::string name;
    std::vector<std::int64_t> shape;  ///< of what it is made of
    at::ScalarType dtype;             ///< that this was asked for in
    Make make;
    Given given;
  };

  /// Calls `act(given, tensor)` for all that are still in use; of others nothing is kept.
  template <class Act>
  void for_each_given(const Act& act) {
    const auto visit = [&](Given& given) {
      const at::Tensor tensor(given.weak.lock());
      if (tensor.defined())
        act(given, tensor);
      else
        given.home.reset();
    };
    for (auto& [key, given] : handed_out_) visit(given);
    for (auto& derived : derived_) visit(derived.given);
  }

  std::int64_t packed_size() {
    std::int64_t bytes = 0;
    for_each_given([&](Given&, const at::Tensor& tensor) { bytes += PackedMemory::size_of(tensor); });
    return bytes;
  }

  /// What stands for a tensor without data. One that is away takes no memory, and is no number where it is
  /// used all the same.
  at::Tensor stand_in(at::IntArrayRef shape, at::ScalarType dtype) const {
    const auto options = at::TensorOptions(dtype).device(device_);
    if (!away_) return at::empty(shape, options);
    constexpr double no_number = std::numeric_limits<double>::quiet_NaN();
    return (at::isFloatingType(dtype) ? at::full({}, no_number, options) : at::zeros({}, options))
        .expand(shape);
  }

  at::Tensor fetch(const std::string& name, at::IntArrayRef shape, at::ScalarType dtype) const {
    if (inventor_ != nullptr) {
      const auto invented = inventor_->invent(name, shape, at::TensorOptions(dtype).device(device_));
      return device_.is_meta() ? stand_in(shape, invented.scalar_type()) : invented;
    }
    const auto stored = source_->find(name)->dtype;
    const auto target = at::isFloatingType(stored) ? dtype : stored;
    if (away_ || device_.is_meta()) return stand_in(shape, target);
    const auto tensor =
        source_->read(name).detach();  // a handle of its own: its storage may be replaced later
    // Converted on the device, so that the host makes no copy. On "cpu:0", ATen would.
    return convert(device_.is_cpu() ? tensor : tensor.to(device_), target);
  }

  std::shared_ptr<const TensorSource> source_;
  const InventedSource* inventor_;  // null when the source is a file
  std::vector<std::string> names_;  // sorted
  mutable std::mutex mutex_;        // guards what follows
  at::Device device_;
  bool away_ = false;
  bool locked_ = false;  // whether those that were in use then wait in page-locked memory
  std::set<std::string> asked_;
  std::map<std::pair<std::string, at::ScalarType>, Given>
      handed_out_;  // held weakly: a network that is gone keeps nothing alive
  std::vector<Derived> derived_;
};

}  // namespace reno
