// Runs the cells of a sweep, or the part of them that is this shard's. What is finished is skipped, what
// fails is recorded and does not stop the rest, models stay loaded from cell to cell.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "reno/run/run.hpp"
#include "reno/run/status.hpp"
#include "reno/run/sweep.hpp"
#include "reno/run/sweep_table.hpp"

namespace reno {

struct SweepSummary {
  std::filesystem::path output;
  std::int64_t cells = 0;
  bool complete = false;            ///< all shards have ended and the table is there
  std::vector<std::string> failed;  ///< names of this shard's cells
};

class SweepRun {
 public:
  SweepRun(const Experiment& experiment, ExperimentSource source, const Registry& registry,
           c10::Device device, std::shared_ptr<spdlog::logger> log, RunSettings settings)
      : experiment_(experiment),
        source_(std::move(source)),
        registry_(registry),
        device_(device),
        log_(std::move(log)),
        settings_(std::move(settings)),
        plan_(experiment),
        directory_(experiment.run.output, settings_.existing, settings_.shard, /*any_number=*/true),
        status_(directory_.own_file("progress.json")) {
    begin_directory(directory_.root(), experiment_, registry_);
    settings_.existing = Existing::resume;
    settings_.any_number = true;
    settings_.models = std::make_shared<Models>();
  }

  /// Throws Interrupted when `should_stop` says so.
  SweepSummary execute() {
    SweepSummary summary{directory_.root(), plan_.size(), false, {}};
    plan_work();
    std::int64_t offset = 0;
    for (std::int64_t i = 0; i < plan_.size(); ++i) {
      const Cell cell = plan_.cell(i);
      const Experiment experiment = cell_experiment(cell, source_, directory_.root(), registry_);
      const std::int64_t batches = count_batches(experiment);
      const Shard shard{settings_.shard.index, settings_.shard.count, offset};
      const std::int64_t share = shard.share(batches);  // a cell of a single batch is one process's own
      offset += batches;
      if (share == 0) continue;
      if (!is_complete(experiment.run.output))
        run_cell(cell, experiment, batches == 1 ? Shard{} : shard, summary);
      done_ += static_cast<double>(share);
      status_.update(done_, all_, std::ssize(summary.failed));
      if (settings_.should_stop()) stop();
    }
    status_.write("ended");
    summary.complete = finish();
    return summary;
  }

 private:
  static std::int64_t count_batches(const Experiment& experiment) {
    const auto images = count_prompts(experiment) * experiment.run.images_per_prompt();
    return (images + experiment.run.batch - 1) / experiment.run.batch;
  }

  /// Checks every cell before the first is run, and counts.
  void plan_work() {
    std::int64_t offset = 0;
    for (std::int64_t i = 0; i < plan_.size(); ++i) {
      const auto experiment = cell_experiment(plan_.cell(i), source_, directory_.root(), registry_);
      const auto batches = count_batches(experiment);
      all_ += static_cast<double>(Shard{settings_.shard.index, settings_.shard.count, offset}.share(batches));
      offset += batches;
    }
    status_.update(0.0, all_);
  }

  void run_cell(const Cell& cell, const Experiment& experiment, const Shard& shard, SweepSummary& summary) {
    if (!settings_.quiet) log_->info("cell {}/{}: {}", cell.index + 1, plan_.size(), cell.name);
    RunSettings settings = settings_;
    settings.shard = shard;
    settings.on_progress = [&](double done, double) {
      status_.update(done_ + done, all_, std::ssize(summary.failed));
    };
    const auto failure = experiment.run.output / shard.folder() / "error.txt";
    try {
      Run(experiment, registry_, make_context(experiment, device_, log_), settings).execute();
      std::filesystem::remove(failure);
    } catch (const Interrupted&) {
      stop();
    } catch (const std::exception& error) {
      summary.failed.push_back(cell.name);
      log_->error("cell '{}' failed: {}", cell.name, error.what());
      std::filesystem::create_directories(failure.parent_path());
      write_file_atomically(failure, std::string(error.what()) + "\n");
    }
  }

  [[noreturn]] void stop() {
    status_.write("stopped");
    throw Interrupted(fmt::format("interrupted; what was done so far is in {}, --resume continues it",
                                  directory_.root().string()));
  }

  /// Makes the table when all shards have ended, and another has not already begun to.
  bool finish() {
    const auto statuses = read_statuses(directory_.root(), settings_.shard.count);
    if (!std::ranges::all_of(statuses, &ShardStatus::ended)) return false;
    std::unique_ptr<DirectoryLock> lock;
    if (!settings_.shard.whole()) {
      lock = DirectoryLock::try_lock(directory_.root() / settings_.shard.parent());
      if (!lock) return false;
    }
    SweepTable table(directory_.root());
    for (std::int64_t i = 0; i < plan_.size(); ++i) table.add(read_result(plan_.cell(i)));
    table.commit();
    return true;
  }

  CellResult read_result(const Cell& cell) const {
    CellResult result;
    result.cell = cell;
    const auto folder = directory_.root() / cell.folder();
    if (is_complete(folder)) {
      result.status = CellStatus::done;
      const Cell reference = plan_.cell(cell.reference);
      const bool compared =
          reference.index != cell.index && is_complete(directory_.root() / reference.folder());
      result.values = read_cell(cell, cell_experiment(cell, source_, directory_.root(), registry_),
                                directory_.root(), compared ? reference.folder() : "");
    } else if (has_failed(folder)) {
      result.status = CellStatus::failed;
    }
    return result;
  }

  bool has_failed(const std::filesystem::path& folder) const {
    if (std::filesystem::exists(folder / "error.txt")) return true;
    for (std::int64_t i = 0; i < settings_.shard.count; ++i) {
      if (std::filesystem::exists(folder / settings_.shard.folder_of(i) / "error.txt")) return true;
    }
    return false;
  }

  const Experiment& experiment_;
  ExperimentSource source_;
  const Registry& registry_;
  c10::Device device_;
  std::shared_ptr<spdlog::logger> log_;
  RunSettings settings_;
  SweepPlan plan_;
  RunDirectory directory_;
  StatusFile status_;
  double done_ = 0.0;  ///< batches
  double all_ = 0.0;
};

}  // namespace reno
