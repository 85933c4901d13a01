// The loop that all trainings share: learn, tell, save; from a checkpoint on, and until somebody wants to
// stop.
#pragma once

#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>
#include <utility>

#include "reno/error.hpp"
#include "reno/run/signals.hpp"
#include "shapes/train/checkpoint.hpp"
#include "shapes/train/optimizer.hpp"

namespace reno::shapes {

/// Where a training writes, and how often it speaks.
struct TrainingFiles {
  std::filesystem::path model;       ///< folder
  std::filesystem::path checkpoint;  ///< file with the state of the training
  int report_every = 100;            ///< steps
  int save_every = 500;              ///< steps; the held-out score is told then, too
};

/// One line, at once.
inline void say(const std::string& line) {
  fmt::print("{}\n", line);
  std::fflush(stdout);
}

struct TrainingPlan {
  std::string name;
  std::string words;  ///< everything that the numbers depend on
  std::int64_t steps;
};

/// Takes `plan.steps` steps, some of which may have been taken before. `learn(step)` does one and returns its
/// losses in words; `score()` returns the held-out score in words.
template <class Learn, class Score>
void run_training(const TrainingPlan& plan, const TrainingFiles& files, Optimizer& optimizer, Learn&& learn,
                  Score&& score) {
  if (std::filesystem::exists(files.checkpoint)) load_checkpoint(files.checkpoint, optimizer, plan.words);
  const auto tell = [&](const std::string& what) {
    say(fmt::format("{} {}/{}  {}", plan.name, optimizer.steps(), plan.steps, what));
  };
  tell(fmt::format("{}; {} parameters", plan.words, optimizer.numel()));
  if (optimizer.steps() == 0) tell("held out: " + score());
  auto since = std::chrono::steady_clock::now();
  for (auto step = optimizer.steps(); step < plan.steps; step = optimizer.steps()) {
    const auto losses = learn(step);
    const auto done = step + 1;
    if (done % files.report_every == 0) {
      const auto now = std::chrono::steady_clock::now();
      tell(fmt::format("{}  {:.3f} s/step", losses,
                       std::chrono::duration<double>(now - since).count() / files.report_every));
      since = now;
    }
    const bool stop = stop_requested() != 0 && done < plan.steps;
    if (stop || done % files.save_every == 0 || done == plan.steps)
      save_checkpoint(files.checkpoint, optimizer, plan.words);
    if (stop)
      throw Interrupted(
          fmt::format("stopped; the same command continues from {}", files.checkpoint.string()));
    if (done % files.save_every == 0 && done < plan.steps) tell("held out: " + score());
  }
}

}  // namespace reno::shapes
