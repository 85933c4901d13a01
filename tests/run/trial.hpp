// Runs an experiment of fake components in a folder of its own.
#pragma once

#include <fmt/format.h>
#include <spdlog/sinks/null_sink.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "reno/experiment/toml.hpp"
#include "reno/optimizers/builtin.hpp"
#include "reno/run/run.hpp"
#include "support/fakes.hpp"
#include "support/program.hpp"

namespace reno::test {

/// Becomes NaN at the third score.
struct FailingReward : SquareReward {
  using SquareReward::SquareReward;
  at::Tensor score(const at::Tensor& pixels, const PromptFeatures& features) const {
    const at::Tensor value = SquareReward::score(pixels, features);
    return ++calls < 3 ? value : value * std::numeric_limits<double>::quiet_NaN();
  }
  mutable int calls = 0;
};

inline Registry trial_registry() {
  Registry registry;
  registry.add<SigmoidGenerator>("sigmoid", "Fake.");
  registry.add<SquareReward>("square", "Fake.");
  registry.add<BlackBoxReward>("black-box", "Fake.");
  registry.add<FailingReward>("failing", "Fake.");
  register_builtin_optimizers(registry);
  return registry;
}

inline std::vector<nlohmann::json> read_lines(const std::filesystem::path& file) {
  std::vector<nlohmann::json> lines;
  std::ifstream stream(file);
  for (std::string line; std::getline(stream, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

inline nlohmann::json read_json(const std::filesystem::path& file) {
  std::ifstream stream(file);
  return nlohmann::json::parse(stream);
}

struct Trial {
  TemporaryFolder folder;
  Registry registry = trial_registry();
  RunSettings settings;
  std::string run;                                         // lines for [run]
  std::string more = "[[reward]]\nplugin = \"square\"\n";  // further sections

  Trial() { settings.quiet = true; }

  std::filesystem::path output() const { return folder.path() / "out"; }

  /// Prompts for run.prompts = "prompts".
  void write_prompts(const std::string& text) const {
    std::ofstream(folder.path() / "prompts", std::ios::binary) << text;
  }

  Experiment experiment() const {
    const std::string text =
        fmt::format("[run]\noutput = \"{}\"\ndevice = \"cpu\"\n{}\n[generator]\nplugin = \"sigmoid\"\n{}",
                    output().string(), run, more);
    return parse_experiment(text, folder.path() / "trial.toml", registry);
  }

  RunSummary execute() {
    const Experiment parsed = experiment();
    auto log = std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::null_sink_mt>());
    return Run(parsed, registry, make_context(parsed, c10::kCPU, log), settings).execute();
  }
};

}  // namespace reno::test
