// From an experiment to live components: device, context, generator and rewards.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "reno/experiment/experiment.hpp"
#include "reno/objective.hpp"
#include "reno/registry.hpp"

namespace reno {

inline Context make_context(const Experiment& experiment, c10::Device device,
                            std::shared_ptr<spdlog::logger> log) {
  Context context;
  context.device = device;
  context.dtype = experiment.run.dtype;
  context.memory = experiment.run.memory;
  context.seed = static_cast<std::uint64_t>(experiment.run.seed);
  context.search_paths = experiment.search_paths();
  context.log = std::move(log);
  context.clock = std::make_shared<StageClock>(device, experiment.run.profile);
  return context;
}

/// Constructs a component; what goes wrong is said to be its fault.
template <class Handle>
Handle create_component(const Catalogue<Handle>& catalogue, const std::string& plugin,
                        const AnyOptions& options, const Context& context) {
  const auto fault = [&](const std::exception& error) {
    return fmt::format("{} '{}': {}", catalogue.kind(), plugin, error.what());
  };
  try {
    return catalogue.at(plugin).create(options, context);
  } catch (const ConfigurationError& error) {
    throw ConfigurationError(fault(error));
  } catch (const RunError& error) {
    throw RunError(fault(error));
  } catch (const std::exception& error) {
    throw LoadError(fault(error));
  }
}

/// Throws ConfigurationError when a weighted reward has no gradient and the mode needs one.
inline void require_gradient(const Experiment& experiment, const Objective& objective) {
  if (experiment.run.mode == Mode::optimize && objective.black_box()) {
    throw ConfigurationError(fmt::format(
        "reward '{}' has no gradient: give it weight = 0 to monitor it, or use run.mode = \"best-of-n\"",
        *objective.black_box()));
  }
}

/// The generator's options, with the model of `[refine]` where that says one. Throws ConfigurationError for a
/// generator that has no place for it.
inline AnyOptions generator_options(const Experiment& experiment) {
  AnyOptions options = experiment.generator.options;
  if (!experiment.refine.generator) return options;
  const auto base = std::ranges::find(options.fields(), "base", &Option::key);
  if (base == options.fields().end())
    throw ConfigurationError(fmt::format(
        "refine.generator is set, but generator '{}' has no option 'base': it refines by itself, if at all",
        experiment.generator.plugin));
  base->set(experiment.refine.generator->string());
  return options;
}

/// Throws ConfigurationError where `run.cuda_graph` asks for what the device cannot do.
inline void require_graph(const Experiment& experiment, const Registry& registry, const Context& context) {
  if (!experiment.run.cuda_graph || context.device.is_meta()) return;
  if (!context.device.is_cuda())
    throw ConfigurationError(
        fmt::format("run.cuda_graph needs a GPU, and this run is on {}", context.device.str()));
  if (!registry.make_device_graph)
    throw ConfigurationError(
        "run.cuda_graph needs reno's own CUDA kernels (run.kernels = true, and a build with nvcc 13)");
}

/// What an iteration is recorded as; null unless `run.cuda_graph` asks for it.
inline std::unique_ptr<DeviceGraph> make_graph(const Experiment& experiment, const Registry& registry,
                                               const Context& context) {
  return experiment.run.cuda_graph ? registry.make_device_graph(context.device) : nullptr;
}

/// Loads generator and rewards; see require_gradient and require_graph for what it throws besides.
inline Objective load_objective(const Experiment& experiment, const Registry& registry,
                                const Context& context) {
  require_graph(experiment, registry, context);
  auto generator = create_component(registry.generators, experiment.generator.plugin,
                                    generator_options(experiment), context);
  if (experiment.refine.steps > 0 && !generator.can_refine())
    throw ConfigurationError(fmt::format("refine.steps = {}, but generator '{}' has no multi-step sampler",
                                         experiment.refine.steps, experiment.generator.plugin));
  std::vector<WeightedReward> rewards;
  for (const auto& term : experiment.rewards) {
    rewards.push_back(
        {term.name, term.weight, create_component(registry.rewards, term.plugin, term.options, context)});
  }
  Objective objective(std::move(generator), std::move(rewards), experiment.regularization.weight,
                      context.clock);
  require_gradient(experiment, objective);
  return objective;
}

inline AnyOptimizer make_optimizer(const Experiment& experiment, const Registry& registry,
                                   const Context& context) {
  return create_component(registry.optimizers, experiment.optimizer.plugin, experiment.optimizer.options,
                          context);
}

}  // namespace reno
