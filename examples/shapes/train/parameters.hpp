// Weights that are learnt. The networks of include/reno/nn take their tensors from a `Weights` scope; this is
// a source behind such a scope that makes tensors up at random and remembers them as parameters, with
// gradients switched on.
#pragma once

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "reno/io/invented_source.hpp"
#include "reno/io/weights.hpp"

namespace reno::shapes {

/// Named tensors, in the order of their names.
using TensorMap = std::map<std::string, at::Tensor>;

/// Those of `tensors` whose name begins with `prefix`, which is taken off.
inline TensorMap below(const TensorMap& tensors, std::string_view prefix) {
  TensorMap chosen;
  for (const auto& [name, tensor] : tensors)
    if (name.starts_with(prefix)) chosen.emplace(name.substr(prefix.size()), tensor);
  return chosen;
}

class ParameterSource : public RandomSource {
 public:
  ParameterSource(std::uint64_t seed, double gain) : RandomSource(seed, gain) {}

  at::Tensor invent(const std::string& name, at::IntArrayRef shape,
                    at::TensorOptions options) const override {
    auto& known = parameters_[name];
    if (!known.defined()) known = RandomSource::invent(name, shape, options).set_requires_grad(true);
    return known;
  }

  const TensorMap& parameters() const { return parameters_; }

 private:
  mutable TensorMap parameters_;  // what networks have asked for
};

/// The scope that networks are built from, and the parameters that this makes.
class Parameters {
 public:
  /// Initial values are normal(0, gain / sqrt(fan_in)), biases 0, scales 1.
  explicit Parameters(std::uint64_t seed, double gain = .6)
      : source_(std::make_shared<ParameterSource>(seed, gain)), scope_(source_, at::kCPU, at::kFloat) {}

  Weights operator/(std::string_view name) const { return scope_ / name; }
  const TensorMap& tensors() const { return source_->parameters(); }

 private:
  std::shared_ptr<const ParameterSource> source_;
  Weights scope_;
};

}  // namespace reno::shapes
