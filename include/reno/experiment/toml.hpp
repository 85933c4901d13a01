// Reads an experiment file: TOML and `--set` overrides, checked against the sections of `Experiment` and the
// options of the registered plugins. All problems are reported together:
//
//     run.toml:3:10: reward.weight = -1 is outside [0, inf)
//     run.toml:4:8: run.seed is a string, expected an integer
//     --set run.iteratons=10: unknown key 'iteratons', did you mean 'iterations'?
#pragma once

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "reno/experiment/experiment.hpp"
#include "reno/experiment/override.hpp"
#include "reno/experiment/paths.hpp"
#include "reno/experiment/section_reader.hpp"
#include "reno/experiment/toml_text.hpp"

namespace reno {

namespace detail {

/// An experiment is written by hand; what is larger is something else. Bounds the depth to which a hostile
/// file can nest, too.
inline constexpr std::size_t largest_experiment = 64 * 1024;

inline std::string read_text(const std::filesystem::path& file) {
  if (std::filesystem::is_directory(file)) {
    throw ConfigurationError(fmt::format("{}: is a directory, expected an experiment file", file.string()));
  }
  std::ifstream stream(file, std::ios::binary);
  std::string text(largest_experiment + 1, '\0');
  if (stream) stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!stream.eof() && !stream) {
    throw ConfigurationError(fmt::format("{}: cannot be read: {}", file.string(), std::strerror(errno)));
  }
  text.resize(static_cast<std::size_t>(stream.gcount()));
  return text;
}

inline bool is_device(const std::string& name) {
  if (name == "auto" || name == "cpu" || name == "cuda") return true;
  return name.starts_with("cuda:") && name.size() > 5 && name.size() <= 8 &&
         std::all_of(name.begin() + 5, name.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
}

inline void check_run(const RunOptions& run, const toml::table& root, Problems& problems) {
  const auto where = [&](const char* key) {
    const toml::node* node = root["run"][key].node();
    return node == nullptr ? toml::source_region{} : node->source();
  };
  if (!is_device(run.device)) {
    problems.add(where("device"),
                 fmt::format("run.device = {} is none of auto, cpu, cuda, cuda:N", toml_text(run.device)));
  }
  if (run.task != Task::single && !run.prompts) {
    problems.add(where("task"), "this task needs run.prompts, the file of its prompts");
  }
  if (run.task == Task::single && run.prompts) {
    problems.add(where("prompts"),
                 "run.prompts is not read by run.task = \"single\"; do you mean task = \"example-prompts\"?");
  }
  if (run.cuda_graph && run.memory == MemoryMode::lean) {
    problems.add(where("cuda_graph"),
                 "run.cuda_graph replays an iteration with all weights where they lie, and run.memory = "
                 "\"lean\" moves them; use memory = \"balanced\"");
  }
  if (run.cuda_graph && run.profile) {
    problems.add(
        where("cuda_graph"),
        "run.cuda_graph replays an iteration as one piece, and run.profile times its stages; use one "
        "of them");
  }
}

inline void check_rewards(const Experiment& experiment, const toml::table& root,
                          const std::vector<const toml::table*>& tables, Problems& problems) {
  const auto& terms = experiment.rewards;
  for (std::size_t i = 0; i < terms.size(); ++i) {
    const auto first = std::ranges::find(terms, terms[i].name, &RewardTerm::name);
    if (terms[i].name.empty()) {
      problems.add(tables[i]->get("name")->source(), "reward.name is empty");
    } else if (first != terms.begin() + static_cast<std::ptrdiff_t>(i)) {
      problems.add(tables[i]->source(),
                   fmt::format("a second reward is named '{}'; give one of them a name = \"…\" of its own",
                               terms[i].name));
    }
  }
  const std::string& benchmark = experiment.run.benchmark_reward;
  if (benchmark != "total" && std::ranges::find(terms, benchmark, &RewardTerm::name) == terms.end()) {
    const toml::node* node = root["run"]["benchmark_reward"].node();
    problems.add(node == nullptr ? toml::source_region{} : node->source(),
                 fmt::format("run.benchmark_reward = {} is neither total nor the name of a [[reward]]",
                             toml_text(benchmark)));
  }
  if (experiment.run.mode == Mode::no_optim) return;
  const toml::array* listed = root["reward"].as_array();
  if (!root.contains("reward") || (listed != nullptr && listed->empty())) {
    problems.add("there is no [[reward]]: nothing to optimise");
  } else if (!terms.empty() && listed != nullptr && terms.size() == listed->size() &&
             std::ranges::all_of(terms, [](const RewardTerm& term) { return term.weight == 0.0; })) {
    problems.add(tables.front()->source(), "the weight of every reward is 0: nothing to optimise");
  }
}

inline void check_draws(const Experiment& experiment, const toml::table& root, Problems& problems) {
  const auto draws = experiment.noise.draws, iterations = experiment.run.iterations;
  if (experiment.run.mode != Mode::optimize || draws < std::max<std::int64_t>(iterations, 1)) return;
  const toml::node* node = root["noise"]["draws"].node();
  problems.add(
      node == nullptr ? toml::source_region{} : node->source(),
      fmt::format("noise.draws = {} leaves none of the {} iterations to the optimisation; run.mode = "
                  "\"best-of-n\" does nothing but draw",
                  draws, iterations));
}

inline bool names_base(const Experiment& experiment) {
  if (experiment.refine.generator) return true;
  const auto& options = experiment.generator.options.fields();
  const auto base = std::ranges::find(options, "base", &Option::key);
  return base != options.end() && base->get() != OptionValue(std::string());
}

/// A section [refine] that leaves out steps or guidance means the published ones, where the generator has
/// such.
inline void complete_refine(Experiment& experiment, const toml::table& root, const Registry& registry) {
  const auto* table = root["refine"].as_table();
  const auto* entry = registry.generators.find(experiment.generator.plugin);
  if (table == nullptr || entry == nullptr || !entry->refinement) return;
  if (entry->refinement->by_base && !names_base(experiment)) return;
  if (!table->contains("steps")) experiment.refine.steps = entry->refinement->steps;
  if (!table->contains("guidance")) experiment.refine.guidance = entry->refinement->guidance;
}

inline std::filesystem::path default_output(const Experiment& experiment) {
  const std::string name = experiment.run.task == Task::single || experiment.file.empty()
                               ? experiment.run.prompt
                               : experiment.file.stem().string();
  return std::filesystem::path("outputs") / safe_file_name(name);
}

}  // namespace detail

/// Reads the text of an experiment file. `file` names it in messages, and its folder is where relative inputs
/// are looked up first. Each of `overrides` is "section.key=value", as after `--set`. Throws
/// ConfigurationError with a line for each problem.
inline Experiment parse_experiment(std::string_view text, const std::filesystem::path& file,
                                   const Registry& registry, const std::vector<std::string>& overrides = {}) {
  Problems problems(file.string(), overrides);
  toml::table root;
  try {
    if (text.size() > detail::largest_experiment) {
      throw ConfigurationError(fmt::format("{}: is larger than {} KiB, which no experiment file is",
                                           problems.file(), detail::largest_experiment / 1024));
    }
    root = toml::parse(text, std::string_view(problems.file()));
  } catch (const toml::parse_error& error) {
    problems.add(error.source(), std::string(error.description()));
    problems.raise();
  }
  for (const std::string& text : overrides) apply_override(root, text, problems);

  Experiment experiment;
  experiment.file = file;
  detail::SectionReader reader(root, registry, problems);
  experiment.describe(reader);
  reader.check_names();
  detail::check_run(experiment.run, root, problems);
  detail::check_draws(experiment, root, problems);
  detail::check_rewards(experiment, root, reader.reward_tables(), problems);
  problems.raise();
  detail::complete_refine(experiment, root, registry);
  if (experiment.run.output.empty()) experiment.run.output = detail::default_output(experiment);
  return experiment;
}

/// Reads an experiment file; see `parse_experiment`.
inline Experiment read_experiment(const std::filesystem::path& file, const Registry& registry,
                                  const std::vector<std::string>& overrides = {}) {
  return parse_experiment(detail::read_text(file), file, registry, overrides);
}

}  // namespace reno
