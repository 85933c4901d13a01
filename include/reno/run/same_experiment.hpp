// A run is continued as it was begun: everything that decides its numbers must be the same.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "reno/experiment/inputs.hpp"
#include "reno/experiment/toml.hpp"
#include "reno/experiment/write_toml.hpp"
#include "reno/io/atomic_file.hpp"

namespace reno {

namespace detail {

/// "section.key = value" of every key that must not differ; the sections of rewards are numbered.
inline std::vector<std::string> deciding_keys(Experiment experiment) {
  experiment.run.output = "";
  experiment.run.device = "";
  experiment.run.checkpoint_seconds = 0.0;
  experiment.launcher.reset();
  std::istringstream lines(write_toml(with_absolute_inputs(std::move(experiment))));
  std::vector<std::string> keys;
  std::string section;
  std::size_t rewards = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("[[")) {
      section = fmt::format("reward.{}", rewards++);
    } else if (line.starts_with("[")) {
      section = line.substr(1, line.find(']') - 1);
    } else if (!line.empty()) {
      keys.push_back(fmt::format("{}.{}", section, line.starts_with("# ") ? line.substr(2) : line));
    }
  }
  return keys;
}

inline std::vector<std::string> without(const std::vector<std::string>& keys,
                                        const std::vector<std::string>& others) {
  std::vector<std::string> left;
  std::ranges::copy_if(keys, std::back_inserter(left), [&](const std::string& key) {
    return std::ranges::find(others, key) == others.end();
  });
  return left;
}

}  // namespace detail

/// Compares with the experiment.toml of a run directory, if there is one. Throws ConfigurationError naming
/// all differences; output, device, checkpoint_seconds and the launcher may differ.
inline void require_same_experiment(const std::filesystem::path& directory, const Experiment& experiment,
                                    const Registry& registry) {
  const auto file = directory / "experiment.toml";
  if (!std::filesystem::exists(file)) return;
  const auto there = detail::deciding_keys(read_experiment(file, registry));
  const auto here = detail::deciding_keys(experiment);
  if (there == here) return;
  throw ConfigurationError(fmt::format(
      "{} holds a run of another experiment, which cannot be continued as this one: there {}; here {}",
      directory.string(), fmt::join(detail::without(there, here), ", "),
      fmt::join(detail::without(here, there), ", ")));
}

/// Writes the experiment of a directory, or compares it with the one that is there.
inline void begin_directory(const std::filesystem::path& directory, const Experiment& experiment,
                            const Registry& registry) {
  const auto file = directory / "experiment.toml";
  if (std::filesystem::exists(file)) return require_same_experiment(directory, experiment, registry);
  write_file_atomically(file, write_toml(with_absolute_inputs(experiment)));
}

}  // namespace reno
