// Input files that an experiment names by relative paths: where they are found, and the same experiment with
// all of them absolute, so that the file which a run writes into its folder runs again from there.
#pragma once

#include <filesystem>
#include <string>
#include <variant>
#include <vector>

#include "reno/experiment/experiment.hpp"

namespace reno {

/// The first of the search paths that has `name`, joined with it and absolute; `name` itself when it is
/// absolute, empty or nowhere (a hub id, perhaps).
inline std::filesystem::path absolute_input(const std::filesystem::path& name,
                                            const std::vector<std::filesystem::path>& search_paths) {
  if (name.empty() || name.is_absolute()) return name;
  for (const auto& folder : search_paths) {
    std::error_code none;  // what cannot be examined is not there
    if (std::filesystem::exists(folder / name, none))
      return std::filesystem::absolute(folder / name).lexically_normal();
  }
  return name;
}

namespace detail {

inline void make_inputs_absolute(std::vector<Option>& options,
                                 const std::vector<std::filesystem::path>& search_paths) {
  for (Option& option : options) {
    if (option.type != OptionType::path) continue;
    const OptionValue value = option.get();
    if (const auto* name = std::get_if<std::string>(&value))
      option.set(absolute_input(*name, search_paths).string());
  }
}

}  // namespace detail

/// Weights, prompts and stored noise that are files or folders become absolute; hub ids, `~/...` and names of
/// what is not there stay.
inline Experiment with_absolute_inputs(Experiment experiment) {
  const auto search_paths = experiment.search_paths();
  for (auto* input : {&experiment.run.prompts, &experiment.noise.init, &experiment.refine.generator}) {
    if (*input) *input = absolute_input(**input, search_paths);
  }
  detail::make_inputs_absolute(experiment.generator.options.fields(), search_paths);
  detail::make_inputs_absolute(experiment.optimizer.options.fields(), search_paths);
  for (auto& term : experiment.rewards) {
    detail::make_inputs_absolute(term.options.fields(), search_paths);
  }
  return experiment;
}

}  // namespace reno
