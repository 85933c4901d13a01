// A whole run: prompts in, improved images out. Reads like its table of contents; each part has a header of
// its own beside this one.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "reno/run/batch_work.hpp"
#include "reno/run/conclude.hpp"
#include "reno/run/context.hpp"
#include "reno/run/costs.hpp"
#include "reno/run/finish.hpp"
#include "reno/run/initial_noise.hpp"
#include "reno/run/memory.hpp"
#include "reno/run/merge.hpp"
#include "reno/run/models.hpp"
#include "reno/run/progress.hpp"
#include "reno/run/record.hpp"
#include "reno/run/resume_point.hpp"
#include "reno/run/run_directory.hpp"
#include "reno/run/same_experiment.hpp"
#include "reno/run/shard.hpp"

namespace reno {

struct RunSettings {
  Existing existing = Existing::refuse;  ///< what becomes of a run that the output directory already holds
  Shard shard;                           ///< the part that this process does
  bool any_number = false;  ///< what another number of shards began is begun anew, and not refused
  bool quiet = false;       ///< no progress
  std::function<bool()> should_stop = [] { return false; };
  std::function<void(double, double)> on_progress;              ///< batches done and in all; may be empty
  std::shared_ptr<Models> models = std::make_shared<Models>();  ///< share it to load models once
};

/// What a finished run tells its caller.
struct RunSummary {
  nlohmann::ordered_json results;  ///< what stands in results.json; null while other shards have work to do
  std::filesystem::path output;
};

/// One experiment on one machine.
class Run {
 public:
  Run(const Experiment& experiment, const Registry& registry, Context context, RunSettings settings)
      : experiment_(experiment),
        registry_(registry),
        context_(std::move(context)),
        settings_(std::move(settings)),
        image_count_(count_prompts(experiment) * experiment.run.images_per_prompt()),
        initial_noise_(experiment, context_.search_paths),
        directory_(experiment.run.output, settings_.existing, settings_.shard, settings_.any_number),
        point_(find_resume_point()),
        record_(directory_, experiment, reward_names(experiment)),
        objective_(detail::timed(point_.costs.load_seconds, [&]() -> Objective& {
          return settings_.models->get(experiment, registry, context_);
        })) {
    record_.go_back_to(point_);
    begin_directory(directory_.root(), experiment_, registry_);
  }

  /// Throws Interrupted after saving when `should_stop` says so, and whatever the components throw, after
  /// saving what there is.
  RunSummary execute() {
    const Shard& shard = settings_.shard;
    const MergePlan plan{directory_.root(), shard, image_count_, experiment_.run.batch, iterations()};
    const std::int64_t batches = plan.batches();
    Progress progress(shard.share(batches), shard.share(point_.batch), iterations(), context_.log,
                      settings_.quiet, settings_.on_progress);
    BatchReader reader(experiment_);
    bool stopped = false;
    for (auto batch = reader.next(); !batch.samples.empty() && !stopped; batch = reader.next()) {
      if (batch.index < point_.batch || !shard.has(batch.index)) continue;
      stopped = !run_batch(batch, progress) || (batch.index + 1 < batches && settings_.should_stop());
    }
    progress.clear();
    point_.costs.peak_bytes = std::max(point_.costs.peak_bytes, peak_memory(context_.device));
    if (!stopped) save_point(batches, /*finished=*/true);
    auto results = shard.whole() ? conclude(directory_.root(), experiment_, !stopped, point_.costs,
                                            context_.device.str())
                                 : conclude_shards(plan, experiment_, context_.device.str());
    if (stopped) {
      throw Interrupted(fmt::format("interrupted; what was done so far is in {}, --resume continues it",
                                    directory_.root().string()));
    }
    return {std::move(results), directory_.root()};
  }

 private:
  std::int64_t iterations() const {
    return experiment_.run.mode == Mode::no_optim ? 1 : experiment_.run.iterations;
  }

  /// How many iterations look at fresh noise.
  std::int64_t draws() const {
    return experiment_.run.mode == Mode::optimize ? experiment_.noise.draws : iterations() + 1;
  }

  /// Where an earlier process stopped, or the beginning.
  ResumePoint find_resume_point() const {
    if (!std::filesystem::exists(directory_.root() / "experiment.toml")) return {};
    require_same_experiment(directory_.root(), experiment_, registry_);
    return read_resume_point(directory_.own_file("resume.safetensors")).value_or(ResumePoint{});
  }

  /// What `noise.as_networks` leaves of it.
  at::Tensor rounded(const at::Tensor& noise) const {
    return experiment_.noise.as_networks ? noise.to(context_.dtype).to(noise.scalar_type()) : noise;
  }

  at::Tensor to_run(const std::vector<at::Tensor>& parts) const {
    return rounded(at::cat(parts).to(context_.device, context_.master_dtype()));
  }

  BatchWork begin(const Batch& batch) {
    BatchWork work;
    work.batch = batch;
    std::vector<at::Tensor> noises;
    for (const auto& sample : batch.samples) {
      work.sources.emplace_back(sample.seed, sample.prompt.index, objective_.generator().noise_shape());
      noises.push_back(initial_noise_(work.sources.back()));
    }
    work.initial_noise = to_run(noises);
    work.noise = work.initial_noise.clone();
    if (experiment_.run.mode == Mode::optimize)
      work.optimizer.emplace(make_optimizer(experiment_, registry_, context_));
    if (point_.batch == batch.index && point_.iteration > 0) work.restore(point_, context_.device);
    return work;
  }

  /// Returns whether it was finished.
  bool run_batch(const Batch& batch, Progress& progress) {
    BatchWork work = begin(batch);
    const auto encoded =
        detail::timed(point_.costs.encode_seconds, [&] { return objective_.encode(work.texts()); });
    if (settings_.existing == Existing::resume && batch.index == point_.batch)
      record_.remove_leftovers(batch);
    record_.begin(batch);

    const auto graph = make_graph(experiment_, registry_, context_);
    LoopOptions loop;
    loop.graph = graph.get();
    loop.iterations = iterations();
    loop.first_iteration = work.iteration;
    loop.gradient_from = draws();
    loop.should_stop = settings_.should_stop;
    loop.on_iteration = [&](const Iteration& iteration) { add(work, iteration, progress); };
    loop.on_step = [&](std::int64_t next) {
      work.iteration = next;
      if (saved_.seconds() >= experiment_.run.checkpoint_seconds) save_point(work);
    };
    const NextNoise next_noise = [&](at::Tensor& noise, const Evaluation& evaluation,
                                     const Evaluate& evaluate) {
      const auto next = work.iteration + 1;
      if (next < draws()) {
        noise = to_run(work.draw());
      } else if (next == draws()) {
        noise = work.best_noise().clone();
      } else {
        work.optimizer->step(noise, evaluation, evaluate);
        noise.copy_(rounded(noise));
      }
    };
    saved_ = {};
    bool finished = false;
    std::optional<Refinement> refinement;
    try {
      finished =
          optimize_noise(objective_, encoded, work.noise, next_noise, loop, work.results) == loop.iterations;
      if (finished && experiment_.refine.steps > 0) refinement = refined(work, encoded);
    } catch (const std::exception&) {
      progress.clear();
      save_what_there_is(work, encoded);
      throw;
    }
    if (!finished) save_point(work);
    record_.save(batch, finished_results(work, encoded), refinement);
    if (finished) save_point(batch.index + 1);
    progress.next_batch();
    return finished;
  }

  Refinement refined(const BatchWork& work, const EncodedPrompts& encoded) const {
    return refine(objective_, encoded, experiment_.refine, work.initial_noise, work.best_noise());
  }

  void add(const BatchWork& work, const Iteration& iteration, Progress& progress) {
    record_.add(work.batch, iteration);
    point_.costs.optimize_seconds += iteration.seconds;
    point_.costs.stages.add(iteration.stages);
    ++point_.costs.iterations;
    double total = 0.0;
    double best = 0.0;
    const auto count = static_cast<double>(work.results.size());
    for (std::size_t n = 0; n < work.results.size(); ++n) {
      total += iteration.metrics[n].total / count;
      best += work.results[n].best.total / count;
    }
    progress.update(work.batch.samples.front().number, image_count_, iteration.index, total, best);
  }

  /// What is told of the batch, see finish.hpp; the loop itself goes on with what it has.
  std::vector<ImageResult> finished_results(const BatchWork& work, const EncodedPrompts& encoded) {
    return detail::timed(point_.costs.finish_seconds,
                         [&] { return finish(objective_, encoded, work.initial_noise, work.results); });
  }

  /// After an error, which is what people must be told of, and not that this fails as well.
  void save_what_there_is(const BatchWork& work, const EncodedPrompts& encoded) {
    try {
      record_.save(work.batch, finished_results(work, encoded));
    } catch (const std::exception& error) {
      context_.log->warn("the images so far could not be saved: {}", error.what());
    }
  }

  /// The batches before `next` are done.
  void save_point(std::int64_t next, bool finished = false) {
    ResumePoint point;
    point.batch = next;
    point.finished = finished;
    point.costs = point_.costs;
    write_point(std::move(point));
  }

  /// In the middle of a batch.
  void save_point(const BatchWork& work) {
    ResumePoint point = work.point();
    point.costs = point_.costs;
    write_point(std::move(point));
    saved_ = {};
  }

  void write_point(ResumePoint point) {
    record_.sync(point);
    write_resume_point(directory_.own_file("resume.safetensors"), point);
  }

  struct Stopwatch {
    std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();
    double seconds() const {
      return std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
    }
  };

  const Experiment& experiment_;
  const Registry& registry_;
  Context context_;
  RunSettings settings_;
  std::int64_t image_count_;
  InitialNoise initial_noise_;
  RunDirectory directory_;
  ResumePoint point_;  ///< where this process began; its costs go on growing
  Record record_;
  Objective& objective_;
  Stopwatch saved_;
};

}  // namespace reno
