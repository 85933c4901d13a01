// `Weights`: the scope that frozen networks are built from. `Linear(w / "to_q", 320, 320)` asks the
// checkpoint for "….to_q.weight" in the shape it needs; loading is construction. The tensors handed out by
// one checkpoint are one unit that can move between devices.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "reno/error.hpp"
#include "reno/io/invented_source.hpp"
#include "reno/io/json_file.hpp"
#include "reno/io/tensor_source.hpp"
#include "reno/io/weights_unit.hpp"

namespace reno {

/// A name prefix within a checkpoint; a cheap value. Copies and sub-scopes share one unit: the source, the
/// device, and what was handed out.
class Weights {
 public:
  using Rename = std::function<std::string(std::string)>;

  /// Root scope. Floating tensors become `dtype`, others keep theirs.
  Weights(std::shared_ptr<const TensorSource> source, at::Device device, at::ScalarType dtype)
      : unit_(std::make_shared<WeightsUnit>(std::move(source), device)), dtype_(dtype) {}

  /// Scope in which every tensor exists, with random values (see RandomSource).
  static Weights random(std::uint64_t seed, at::Device device, at::ScalarType dtype, double gain = 1.0) {
    return Weights(std::make_shared<const RandomSource>(seed, gain), device, dtype);
  }

  /// Sub-scope; names are joined with '.'.
  Weights operator/(std::string_view name) const {
    Weights scope = *this;
    scope.prefix_ = key(name);
    return scope;
  }
  Weights operator/(std::int64_t index) const { return *this / std::string_view(std::to_string(index)); }

  /// The same scope, giving floating tensors in another dtype.
  Weights as(at::ScalarType dtype) const {
    Weights scope = *this;
    scope.dtype_ = dtype;
    return scope;
  }

  /// The same scope, for networks that work on `device` though the unit may wait elsewhere.
  Weights working_on(at::Device device) const {
    Weights scope = *this;
    scope.works_on_ = device;
    return scope;
  }

  /// The same scope for a checkpoint with other names: `rename` maps a full key, or a scope with its trailing
  /// '.' (at the root: nothing), to the stored one.
  Weights renamed(Rename rename) const {
    Weights scope = *this;
    scope.rename_ = [inner = rename_, outer = std::move(rename)](std::string name) {
      name = outer(std::move(name));
      return inner ? inner(std::move(name)) : name;
    };
    return scope;
  }

  /// Full key of `name` in this scope, before renaming. The empty name is the scope itself.
  std::string key(std::string_view name) const {
    if (prefix_.empty()) return std::string(name);
    return name.empty() ? prefix_ : prefix_ + "." + std::string(name);
  }

  /// Whether the checkpoint has that tensor. True for any name if the source is open-ended (random weights).
  bool has(std::string_view name) const {
    return unit_->open_ended() || unit_->source().find(stored(name)) != nullptr;
  }

  /// Whether the checkpoint has any tensor below that scope.
  bool has_scope(std::string_view scope) const {
    return unit_->open_ended() || !unit_->below(stored_prefix(scope)).empty();
  }

  /// The tensor, of exactly this shape, on the unit's device; a view of the mapped file where device and
  /// dtype allow. It requires no gradient and must not be written to. Throws LoadError when it is missing or
  /// has another shape.
  at::Tensor get(std::string_view name, at::IntArrayRef shape) const {
    const std::string stored_name = stored(name);
    if (!unit_->open_ended()) check(stored_name, &shape);
    return unit_->hand_out(stored_name, shape, dtype_);
  }

  /// The tensor in whatever shape the checkpoint has.
  at::Tensor get(std::string_view name) const { return get(name, shape(name)); }

  /// Its shape in the checkpoint. Throws LoadError when it is missing.
  std::vector<std::int64_t> shape(std::string_view name) const {
    if (unit_->open_ended())
      throw LoadError(description() + ": tensor " + in_quotes(stored(name)) +
                      " has no shape of its own, it must be asked for with one");
    return check(stored(name), nullptr).shape;
  }

  at::Device device() const { return unit_->device(); }
  at::ScalarType dtype() const { return dtype_; }

  /// Where networks built from this scope work: `device` unless it was said otherwise.
  at::Device works_on() const { return works_on_.value_or(device()); }

  /// The file or index behind the scope, for messages.
  std::string description() const { return unit_->source().description(); }

  /// Stored names below this scope that were never handed out.
  std::vector<std::string> unused() const { return unit_->unused(stored_prefix("")); }

  /// What `make` makes of `get(name, shape)`, another shape or memory format of it, for networks that need no
  /// other. It moves with the unit, and `make`, which is kept, may be called again when the unit comes back:
  /// it must do the same each time, and hold no tensor.
  at::Tensor derive(std::string_view name, at::IntArrayRef shape, const WeightsUnit::Make& make) const {
    const std::string stored_name = stored(name);
    if (!unit_->open_ended()) check(stored_name, &shape);
    return unit_->derive(stored_name, shape, dtype_, make);
  }

  /// Moves the whole unit: every tensor handed out or derived that is still in use changes its storage in
  /// place, and later ones are given on `device`. What came from the CPU goes back there without a copy.
  /// `lock_pages`: what waits there does so in page-locked memory, from which a GPU fetches it faster.
  void to(at::Device device, bool lock_pages = false) const { unit_->move(device, lock_pages); }

  /// Whether the unit waits meanwhile and takes no memory: on the CPU in its file, on the meta device
  /// elsewhere.
  void set_away(bool away) const { unit_->set_away(away); }

 private:
  std::string stored(std::string_view name) const { return rename_ ? rename_(key(name)) : key(name); }

  std::string stored_prefix(std::string_view scope) const {
    const std::string full = key(scope);
    const std::string prefix = full.empty() ? full : full + ".";
    return rename_ ? rename_(prefix) : prefix;
  }

  const TensorInfo& check(const std::string& stored_name, const at::IntArrayRef* shape) const {
    const TensorInfo* info = unit_->source().find(stored_name);
    const auto shown = [](at::IntArrayRef sizes) { return (std::ostringstream() << sizes).str(); };
    if (info == nullptr)
      throw LoadError(description() + ": has no tensor " + in_quotes(stored_name) +
                      (shape != nullptr ? ", expected one of shape " + shown(*shape) : "") +
                      neighbours(stored_name));
    if (shape != nullptr && at::IntArrayRef(info->shape) != *shape)
      throw LoadError(info->file + ": tensor " + in_quotes(stored_name) + " has shape " + shown(info->shape) +
                      ", expected " + shown(*shape));
    return *info;
  }

  /// What the checkpoint has in the deepest scope on the way to a missing tensor: shows another naming scheme
  /// or a shallower network.
  std::string neighbours(std::string_view missing) const {
    for (auto scope = missing;;) {
      const auto dot = scope.rfind('.');
      scope = dot == std::string_view::npos ? "" : scope.substr(0, dot);
      const std::string prefix = dot == std::string_view::npos ? "" : std::string(scope) + ".";
      std::set<std::string> children;
      for (const auto& name : unit_->below(prefix))
        children.insert(name.substr(prefix.size(), name.find('.', prefix.size()) - prefix.size()));
      if (!children.empty()) return list(scope, children);
      if (dot == std::string_view::npos) return "; it has no tensors";
    }
  }

  static std::string list(std::string_view scope, const std::set<std::string>& children) {
    constexpr std::size_t most = 12;
    std::string text = scope.empty() ? "; at its top it has" : "; below " + in_quotes(scope) + " it has";
    std::size_t shown = 0;
    for (const auto& child : children) {
      if (shown == most) return text + ", …";
      text += (shown++ == 0 ? " " : ", ") + child;
    }
    return text;
  }

  std::shared_ptr<WeightsUnit> unit_;
  std::string prefix_;
  at::ScalarType dtype_;
  std::optional<at::Device> works_on_;
  Rename rename_;
};

}  // namespace reno
