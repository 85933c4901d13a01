// Tensor sources without a file: they make up whatever a network asks for. Random weights let a network be
// tested, benchmarked at full size or trained without a checkpoint; the shape recorder builds a network on
// the meta device only to learn what it would ask for.
#pragma once

#include <ATen/Context.h>
#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <cmath>
#include <cstdint>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "reno/error.hpp"
#include "reno/io/tensor_source.hpp"

namespace reno {

/// Names and shapes of a checkpoint, without data.
using TensorShapes = std::map<std::string, std::vector<std::int64_t>>;

/// Makes tensors up on demand. Without a list of known tensors it is open-ended: every name exists and takes
/// the shape that is asked for (a network that probes for optional tensors finds them all). With a list it
/// answers exactly as a file with those tensors would.
class InventedSource : public TensorSource {
 public:
  InventedSource(std::string description, const TensorShapes& known) : description_(std::move(description)) {
    for (const auto& [name, shape] : known) known_.emplace(name, TensorInfo{at::kFloat, shape, description_});
  }

  bool open_ended() const { return known_.empty(); }

  /// The tensor of that name, at once on the device and in the dtype of `options`.
  virtual at::Tensor invent(const std::string& name, at::IntArrayRef shape,
                            at::TensorOptions options) const = 0;

  std::vector<std::string> names() const override {
    std::vector<std::string> names;
    for (const auto& [name, info] : known_) names.push_back(name);
    return names;
  }

  const TensorInfo* find(const std::string& name) const override {
    const auto found = known_.find(name);
    return found == known_.end() ? nullptr : &found->second;
  }

  at::Tensor read(const std::string& name) const override {
    const auto* info = find(name);
    if (info == nullptr) throw LoadError(description() + ": tensor \"" + name + "\" has no known shape");
    return invent(name, info->shape, at::TensorOptions(info->dtype));
  }

  std::string description() const override { return description_; }

 private:
  std::string description_;
  std::map<std::string, TensorInfo> known_;
};

/// Random weights that keep activations at about unit scale: normal(0, gain / sqrt(fan_in)) for two and more
/// dimensions, where fan_in is the number of inputs per output; ones for a vector named "…weight" (norms);
/// zeros for "…bias"; normal(0, gain / sqrt(n)) for other vectors. A tensor depends on seed, name, shape and
/// kind of device alone, not on the order of asking.
class RandomSource : public InventedSource {
 public:
  explicit RandomSource(std::uint64_t seed, double gain = 1.0, const TensorShapes& known = {})
      : InventedSource("random weights (seed " + std::to_string(seed) + ")", known),
        seed_(seed),
        gain_(gain) {}

  at::Tensor invent(const std::string& name, at::IntArrayRef shape,
                    at::TensorOptions options) const override {
    auto tensor = at::empty(
        shape, options.dtype(at::kFloat));  // rounded afterwards: the dtypes differ by rounding alone
    const std::string_view last = std::string_view(name).substr(name.rfind('.') + 1);
    if (last == "bias") {
      tensor.zero_();
    } else if (shape.size() == 1 && last == "weight") {
      tensor.fill_(1);
    } else if (tensor.numel() > 0) {
      const auto outputs = shape.size() < 2 ? 1 : shape.front();
      const double fan_in = static_cast<double>(tensor.numel() / outputs);
      tensor.normal_(0, gain_ / std::sqrt(fan_in), generator(name, tensor.device()));
    }
    return tensor.to(options.dtype());
  }

 private:
  at::Generator generator(const std::string& name, at::Device device) const {
    if (device.is_meta()) return {};
    std::vector<std::uint32_t> words{static_cast<std::uint32_t>(seed_),
                                     static_cast<std::uint32_t>(seed_ >> 32)};
    for (const char letter : name) words.push_back(static_cast<unsigned char>(letter));
    std::seed_seq hash(words.begin(), words.end());
    hash.generate(words.begin(), words.begin() + 2);
    auto generator =
        device.is_cpu()
            ? at::globalContext().defaultGenerator(device).clone()
            : at::globalContext().getAcceleratorHooksInterface(device.type()).getNewGenerator(device.index());
    generator.set_current_seed(std::uint64_t{words[1]} << 32 | words[0]);
    return generator;
  }

  std::uint64_t seed_;
  double gain_;
};

/// Gives tensors without memory (meta device, whatever device is asked for) and notes every request, for
/// comparison with a checkpoint.
class ShapeRecorder : public InventedSource {
 public:
  explicit ShapeRecorder(const TensorShapes& known = {}) : InventedSource("shape recorder", known) {}

  at::Tensor invent(const std::string& name, at::IntArrayRef shape,
                    at::TensorOptions options) const override {
    const std::scoped_lock lock(mutex_);
    recorded_[name] = shape.vec();
    return at::empty(shape, options.device(at::kMeta));
  }

  /// What has been asked for so far.
  TensorShapes recorded() const {
    const std::scoped_lock lock(mutex_);
    return recorded_;
  }

 private:
  mutable std::mutex mutex_;
  mutable TensorShapes recorded_;
};

}  // namespace reno
