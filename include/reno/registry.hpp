// Everything that can be named in an experiment: kind -> name -> factory, option schema, one line of
// documentation. There is no global registry: a program makes one, passes it into each plugin (plugin.hpp),
// and looks components up by name.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "reno/component.hpp"
#include "reno/context.hpp"
#include "reno/device_graph.hpp"
#include "reno/did_you_mean.hpp"
#include "reno/options.hpp"

namespace reno {

/// One registered component.
template <class Handle>
struct Entry {
  std::string name;                     ///< kebab-case, as in TOML
  std::string summary;                  ///< one line for `--list`
  std::string origin;                   ///< the plugin's file, or "built in"
  std::function<AnyOptions()> options;  ///< a fresh object with the defaults
  std::function<Handle(const AnyOptions&, const Context&)> create;
  std::optional<PublishedRefinement> refinement;  ///< of a generator that has one
  double default_weight = 1.0;  ///< of a reward in the objective, when the experiment does not say
};

/// The components of one kind, by name.
template <class Handle>
class Catalogue {
 public:
  explicit Catalogue(std::string kind) : kind_(std::move(kind)) {}

  /// Throws LoadError when the name is taken; the first one stays.
  void add(Entry<Handle> entry) {
    const auto [position, inserted] = entries_.try_emplace(entry.name, entry);
    if (!inserted) {
      throw LoadError(fmt::format("{} '{}' from {} is already registered by {}", kind_, entry.name,
                                  entry.origin, position->second.origin));
    }
  }

  void remove_from(const std::string& origin) {
    std::erase_if(entries_, [&](const auto& item) { return item.second.origin == origin; });
  }

  const Entry<Handle>* find(const std::string& name) const {
    const auto found = entries_.find(name);
    return found == entries_.end() ? nullptr : &found->second;
  }

  /// Throws ConfigurationError that lists what there is.
  const Entry<Handle>& at(const std::string& name) const {
    if (const auto* entry = find(name)) return *entry;
    throw ConfigurationError(unknown(name));
  }

  /// The sentence for a name that is not there.
  std::string unknown(const std::string& name) const {
    const std::string meant = did_you_mean(name, names());
    return fmt::format("unknown {} '{}'{}; have: {}", kind_, name,
                       meant.empty() ? "" : fmt::format(", did you mean '{}'?", meant), listing());
  }

  /// All names in one line.
  std::string listing() const {
    return entries_.empty() ? "none" : fmt::format("{}", fmt::join(names(), ", "));
  }

  std::vector<std::string> names() const {
    std::vector<std::string> result;
    for (const auto& [name, entry] : entries_) result.push_back(name);
    return result;
  }

  const std::string& kind() const { return kind_; }
  auto begin() const { return entries_.begin(); }
  auto end() const { return entries_.end(); }

 private:
  std::string kind_;
  std::map<std::string, Entry<Handle>> entries_;
};

namespace detail {
template <class T>
inline constexpr bool always_false = false;

/// Throws LoadError unless each option has a key of its own that TOML and `--set` can spell. `plugin`, `name`
/// and `weight` stand in the same table of an experiment and belong to it.
inline void check_keys(const std::string& component, const std::vector<Option>& options) {
  constexpr std::string_view letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
  std::set<std::string> taken = {"plugin", "name", "weight"};
  for (const Option& option : options) {
    if (option.key.empty() || option.key.find_first_not_of(letters) != std::string::npos) {
      throw LoadError(fmt::format("'{}' has an option '{}': a key is made of letters, digits, '_' and '-'",
                                  component, option.key));
    }
    if (!taken.insert(option.key).second) {
      throw LoadError(
          fmt::format("'{}' has an option '{}', which is taken: give it another key", component, option.key));
    }
  }
}
}  // namespace detail

class Registry {
 public:
  Catalogue<AnyGenerator> generators{"generator"};
  Catalogue<AnyReward> rewards{"reward"};
  Catalogue<AnyOptimizer> optimizers{"optimizer"};
  MakeDeviceGraph make_device_graph;  ///< empty where no device can record work

  /// Registers `Component` under `name`. Its kind is the concept that it satisfies; its options are
  /// `Component::Options`, and it is constructed as `Component(const Options&, const Context&)`.
  template <class Component>
  void add(const std::string& name, const std::string& summary) {
    using Options = typename Component::Options;
    detail::check_keys(name, AnyOptions::make<Options>().fields());
    static_assert(std::is_constructible_v<Component, const Options&, const Context&>,
                  "a component is constructed from (const Options&, const reno::Context&)");
    if constexpr (Generator<Component>) {
      auto generator = entry<Component, AnyGenerator>(name, summary);
      if constexpr (requires { Component::published_refinement; })
        generator.refinement = Component::published_refinement;
      generators.add(std::move(generator));
    } else if constexpr (Reward<Component>) {
      auto reward = entry<Component, AnyReward>(name, summary);
      if constexpr (requires { Component::default_weight; })
        reward.default_weight = Component::default_weight;
      rewards.add(std::move(reward));
    } else if constexpr (Optimizer<Component>) {
      optimizers.add(entry<Component, AnyOptimizer>(name, summary));
    } else {
      static_assert(detail::always_false<Component>,
                    "a component must satisfy reno::Generator, reno::Reward or reno::Optimizer "
                    "(reno/concepts.hpp); assert the one you "
                    "mean, for example static_assert(reno::Reward<MyReward>), to see what is missing");
    }
  }

  /// What is added from now on is said to come from `origin`; the plugin loader sets it.
  void set_origin(std::string origin) { origin_ = std::move(origin); }

  /// Takes back everything that came from `origin` (a plugin that failed half-way).
  void remove_from(const std::string& origin) {
    for_each_kind(*this, [&](auto& catalogue) { catalogue.remove_from(origin); });
  }

  /// Calls `visit` with the catalogue of each kind.
  template <class AnyRegistry, class Visit>
  static void for_each_kind(AnyRegistry& registry, Visit&& visit) {
    visit(registry.generators);
    visit(registry.rewards);
    visit(registry.optimizers);
  }

 private:
  template <class Component, class Handle>
  Entry<Handle> entry(const std::string& name, const std::string& summary) const {
    using Options = typename Component::Options;
    Entry<Handle> result;
    result.name = name;
    result.summary = summary;
    result.origin = origin_;
    result.options = [] { return AnyOptions::make<Options>(); };
    result.create = [](const AnyOptions& options, const Context& context) {
      return Handle(std::make_unique<Component>(options.as<Options>(), context));
    };
    return result;
  }

  std::string origin_ = "built in";
};

}  // namespace reno
