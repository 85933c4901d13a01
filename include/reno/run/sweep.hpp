// The cells of a sweep: every objective with every point of the grid and every seed. A cell is an experiment
// of its own, made from the sweep's file by overrides as `--set` makes them, so it is checked as a file is.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "reno/experiment/toml.hpp"

namespace reno {

struct Cell {
  std::int64_t index = 0;
  std::string name;
  std::int64_t reference = 0;             ///< the cell that it is compared with
  std::vector<std::string> overrides;     ///< what makes it from the sweep's experiment
  std::filesystem::path folder() const {  ///< relative to the sweep's directory
    return std::filesystem::path("cells") / fmt::format("{:05}", index);
  }
};

/// What `[sweep]` comes to. Cells are made when asked for.
class SweepPlan {
 public:
  static constexpr std::int64_t most_cells = 100'000;

  /// Throws ConfigurationError for a sweep that makes no sense.
  explicit SweepPlan(const Experiment& experiment)
      : options_(experiment.sweep.value()), seeds_(options_.seeds), objectives_(list_objectives(experiment)) {
    const bool single = options_.grid.empty() && seeds_.size() < 2;
    if (options_.kind == SweepKind::grid && single)
      throw ConfigurationError("sweep.kind = \"grid\" needs [sweep.grid], or several sweep.seeds");
    for (const auto& [key, values] : options_.grid) {
      if (key == "run.device" || key == "run.kernels" || key == "run.output")
        throw ConfigurationError(fmt::format(
            "[sweep.grid] varies {}, which is one for all cells of a sweep: set it in [run]", key));
      points_ *= static_cast<std::int64_t>(values.size());
      if (points_ > most_cells) break;
    }
    if (size() > most_cells)
      throw ConfigurationError(fmt::format("the sweep has more than {} cells", most_cells));
  }

  std::int64_t size() const { return std::ssize(objectives_) * points_ * seed_count(); }

  /// Objectives come first to last, within each the grid's points, its last key fastest, then the seeds.
  Cell cell(std::int64_t index) const {
    const std::int64_t seed = index % seed_count();
    std::int64_t point = index / seed_count() % points_;
    const Objective& objective = objectives_[static_cast<std::size_t>(index / seed_count() / points_)];
    Cell cell;
    cell.index = index;
    cell.reference = seed + (options_.kind == SweepKind::grid ? 0 : point * seed_count());
    cell.overrides = objective.overrides;
    std::vector<std::string> names;
    if (options_.kind != SweepKind::grid) names.push_back(objective.name);
    std::vector<std::string> settings;
    for (auto axis = options_.grid.rbegin(); axis != options_.grid.rend(); ++axis) {
      const auto count = static_cast<std::int64_t>(axis->second.size());
      const std::string& value = axis->second[static_cast<std::size_t>(point % count)];
      settings.push_back(fmt::format("{} = {}", axis->first, value));
      cell.overrides.push_back(fmt::format("{}={}", axis->first, value));
      point /= count;
    }
    names.insert(names.end(), settings.rbegin(), settings.rend());
    if (!seeds_.empty()) {
      const auto value = seeds_[static_cast<std::size_t>(seed)];
      names.push_back(fmt::format("seed {}", value));
      cell.overrides.push_back(fmt::format("run.seed={}", value));
    }
    cell.name = fmt::to_string(fmt::join(names, ", "));
    return cell;
  }

 private:
  struct Objective {
    std::string name;
    std::vector<std::string> overrides;
  };

  std::int64_t seed_count() const { return std::max<std::int64_t>(1, std::ssize(seeds_)); }

  /// The full objective first: it is what others are compared with.
  std::vector<Objective> list_objectives(const Experiment& experiment) const {
    std::vector<std::size_t> weighted;
    for (std::size_t k = 0; k < experiment.rewards.size(); ++k) {
      if (experiment.rewards[k].weight != 0.0) weighted.push_back(k);
    }
    if (options_.size && options_.kind != SweepKind::combinations)
      throw ConfigurationError("sweep.size is read by sweep.kind = \"combinations\" only");
    std::vector<Objective> objectives = {{"all", {}}};
    if (options_.kind == SweepKind::grid) return objectives;
    if (weighted.size() < 2)
      throw ConfigurationError(fmt::format("the sweep leaves out rewards, but {} has a weight above 0",
                                           weighted.empty() ? "none" : "only one"));
    if (options_.kind == SweepKind::leave_one_out) {
      for (const std::size_t k : weighted)
        objectives.push_back({"without " + experiment.rewards[k].name, {left_out(k)}});
      return objectives;
    }
    return with_combinations(experiment, weighted, std::move(objectives));
  }

  static std::string left_out(std::size_t reward) { return fmt::format("reward.{}.weight=0.0", reward); }

  /// Larger subsets first; of one size, in the order of the file.
  std::vector<Objective> with_combinations(const Experiment& experiment,
                                           const std::vector<std::size_t>& weighted,
                                           std::vector<Objective> objectives) const {
    constexpr std::size_t most_rewards = 16;
    const std::size_t count = weighted.size();
    if (count > most_rewards)
      throw ConfigurationError(
          fmt::format("combinations of more than {} rewards are too many", most_rewards));
    if (options_.size && *options_.size > static_cast<std::int64_t>(count))
      throw ConfigurationError(
          fmt::format("sweep.size = {}, but only {} rewards have a weight above 0", *options_.size, count));
    for (std::size_t size = count - 1; size > 0; --size) {
      if (options_.size && *options_.size != static_cast<std::int64_t>(size)) continue;
      std::vector<bool> taken(count, false);
      std::fill_n(taken.begin(), size, true);
      do {
        Objective objective;
        for (std::size_t i = 0; i < count; ++i) {
          const auto& name = experiment.rewards[weighted[i]].name;
          if (taken[i]) objective.name += (objective.name.empty() ? "" : " + ") + name;
          if (!taken[i]) objective.overrides.push_back(left_out(weighted[i]));
        }
        objectives.push_back(std::move(objective));
      } while (std::prev_permutation(taken.begin(), taken.end()));
    }
    return objectives;
  }

  SweepOptions options_;
  std::vector<std::int64_t> seeds_;
  std::vector<Objective> objectives_;
  std::int64_t points_ = 1;
};

/// Where the experiment of a sweep was read from, to read its cells from there.
struct ExperimentSource {
  std::filesystem::path file;
  std::vector<std::string> overrides;
};

/// The experiment of one cell, its output inside of the sweep's. Throws ConfigurationError that names the
/// cell.
inline Experiment cell_experiment(const Cell& cell, const ExperimentSource& source,
                                  const std::filesystem::path& output, const Registry& registry) {
  auto overrides = source.overrides;
  overrides.insert(overrides.end(), cell.overrides.begin(), cell.overrides.end());
  try {
    Experiment experiment = read_experiment(source.file, registry, overrides);
    experiment.sweep.reset();
    experiment.launcher.reset();
    experiment.run.output = output / cell.folder();
    return experiment;
  } catch (const ConfigurationError& error) {
    throw ConfigurationError(fmt::format("cell '{}': {}", cell.name, error.what()));
  }
}

}  // namespace reno
