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

#include "reno/experiment/inputs.hpp"
#include "reno/experiment/write_toml.hpp"
#include "reno/io/safetensors.hpp"
#include "reno/run/conclude.hpp"
#include "reno/run/context.hpp"
#include "reno/run/costs.hpp"
#include "reno/run/memory.hpp"
#include "reno/run/noise.hpp"
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
  bool quiet = false;                    ///< no progress
  std::function<bool()> should_stop = [] { return false; };
};

/// What a finished run tells its caller.
struct RunSummary {
  nlohmann::ordered_json results;  ///< what stands in results.json
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
        fixed_noise_(read_fixed_noise()),
        directory_(experiment.run.output, settings_.existing, settings_.shard),
        point_(find_resume_point()),
        record_(directory_, experiment, reward_names(experiment)),
        objective_(detail::timed(point_.costs.load_seconds,
                                 [&] { return load_objective(experiment, registry, context_); })) {
    record_.go_back_to(point_);
    const auto file = directory_.file("experiment.toml");
    if (!std::filesystem::exists(file))
      write_file_atomically(file, write_toml(with_absolute_inputs(experiment_)));
  }

  /// Throws Interrupted after saving when `should_stop` says so, and whatever the components throw, after
  /// saving what there is.
  RunSummary execute() {
    const std::int64_t batches = (image_count_ + experiment_.run.batch - 1) / experiment_.run.batch;
    const Shard& shard = settings_.shard;
    Progress progress(shard.share(batches), shard.share(point_.batch), iterations(), context_.log,
                      settings_.quiet);
    BatchReader reader(experiment_);
    bool stopped = false;
    for (auto batch = reader.next(); !batch.samples.empty() && !stopped; batch = reader.next()) {
      if (batch.index < point_.batch || !shard.has(batch.index)) continue;
      stopped = !run_batch(batch, progress) || (batch.index + 1 < batches && settings_.should_stop());
    }
    progress.clear();
    point_.costs.peak_bytes = std::max(point_.costs.peak_bytes, peak_memory(context_.device));
    if (!stopped) save_point(batches, /*finished=*/true);
    auto results = conclude(directory_.root(), experiment_, !stopped, point_.costs, context_.device.str());
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

  /// `noise.init`, undefined when it is not set. Its shape is checked against the generator's once that is
  /// loaded.
  at::Tensor read_fixed_noise() const {
    if (!experiment_.noise.init) return {};
    const auto file = find_input(*experiment_.noise.init, context_.search_paths, "noise.init");
    const auto source = open_safetensors(file);
    if (source->find("noise") == nullptr)
      throw LoadError(fmt::format("{}: there is no tensor \"noise\"", file.string()));
    return source->read("noise").to(at::kFloat);
  }

  /// Where an earlier process stopped, or the beginning.
  ResumePoint find_resume_point() const {
    if (!std::filesystem::exists(directory_.root() / "experiment.toml")) return {};
    require_same_experiment(directory_.root(), experiment_, registry_);
    return read_resume_point(directory_.own_file("resume.safetensors")).value_or(ResumePoint{});
  }

  /// Noise of one image to begin with, (1, ...) float32 on the CPU.
  at::Tensor initial_noise(NoiseSource& source) const {
    const at::Tensor drawn = source.draw();
    if (!fixed_noise_.defined()) return drawn;
    const bool batched = fixed_noise_.dim() == drawn.dim();
    const at::Tensor noise = batched ? fixed_noise_ : fixed_noise_.unsqueeze(0);
    if (noise.sizes() != drawn.sizes()) {
      throw ConfigurationError(fmt::format("noise.init has shape [{}], but the generator needs [{}]",
                                           fmt::join(fixed_noise_.sizes(), ", "),
                                           fmt::join(drawn.sizes(), ", ")));
    }
    return noise.clone();
  }

  /// All that moves while a batch is worked on.
  struct Work {
    Batch batch;
    std::vector<NoiseSource> sources;
    std::optional<AnyOptimizer> optimizer;  ///< none where noise is drawn afresh
    at::Tensor noise;
    std::vector<ImageResult> results;
    std::int64_t iteration = 0;
  };

  at::Tensor to_run(const std::vector<at::Tensor>& parts) const {
    return at::cat(parts).to(context_.device, context_.master_dtype());
  }

  Work begin(const Batch& batch) {
    Work work;
    work.batch = batch;
    std::vector<at::Tensor> noises;
    for (const auto& sample : batch.samples) {
      work.sources.emplace_back(sample.seed, sample.prompt.index, objective_.generator().noise_shape());
      noises.push_back(initial_noise(work.sources.back()));
    }
    work.noise = to_run(noises);
    if (experiment_.run.mode == Mode::optimize)
      work.optimizer.emplace(make_optimizer(experiment_, registry_, context_));
    if (point_.batch == batch.index && point_.iteration > 0) restore(work);
    return work;
  }

  void restore(Work& work) {
    work.iteration = point_.iteration;
    work.noise = point_.noise.to(context_.device);
    if (work.optimizer) work.optimizer->restore(point_.optimizer);
    for (std::size_t n = 0; n < work.sources.size(); ++n) work.sources[n].restore(point_.sources[n]);
    work.results = std::move(point_.results);
    for (auto& result : work.results) {
      result.best_image = result.best_image.to(context_.device);
      result.best_noise = result.best_noise.to(context_.device);
    }
  }

  /// Returns whether it was finished.
  bool run_batch(const Batch& batch, Progress& progress) {
    Prompts texts;
    for (const auto& sample : batch.samples) texts.push_back(sample.prompt.text);
    Work work = begin(batch);
    const auto encoded = detail::timed(point_.costs.encode_seconds, [&] { return objective_.encode(texts); });
    record_.begin(batch);

    LoopOptions loop;
    loop.iterations = iterations();
    loop.first_iteration = work.iteration;
    loop.with_gradient = work.optimizer.has_value();
    loop.should_stop = settings_.should_stop;
    loop.on_iteration = [&](const Iteration& iteration) { add(work, iteration, progress); };
    loop.on_step = [&](std::int64_t next) {
      work.iteration = next;
      if (saved_.seconds() >= experiment_.run.checkpoint_seconds) save_point(work);
    };
    const NextNoise next_noise = [&](at::Tensor& noise, const Evaluation& evaluation,
                                     const Evaluate& evaluate) {
      if (work.optimizer) return work.optimizer->step(noise, evaluation, evaluate);
      std::vector<at::Tensor> fresh;
      for (auto& source : work.sources) fresh.push_back(source.draw());
      noise = to_run(fresh);
    };
    saved_ = {};
    bool finished = false;
    try {
      finished =
          optimize_noise(objective_, encoded, work.noise, next_noise, loop, work.results) == loop.iterations;
    } catch (const std::exception&) {
      progress.clear();
      save_what_there_is(work);
      throw;
    }
    if (!finished) save_point(work);
    record_.save(batch, work.results);
    if (finished) save_point(batch.index + 1);
    progress.next_batch();
    return finished;
  }

  void add(const Work& work, const Iteration& iteration, Progress& progress) {
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

  /// After an error, which is what people must be told of, and not that this fails as well.
  void save_what_there_is(const Work& work) {
    try {
      record_.save(work.batch, work.results);
    } catch (const RunError& error) {
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
  void save_point(const Work& work) {
    ResumePoint point;
    point.batch = work.batch.index;
    point.iteration = work.iteration;
    point.costs = point_.costs;
    point.noise = work.noise;
    point.results = work.results;
    if (work.optimizer) point.optimizer = work.optimizer->state();
    for (const auto& source : work.sources) point.sources.push_back(source.state());
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
  at::Tensor fixed_noise_;
  RunDirectory directory_;
  ResumePoint point_;  ///< where this process began; its costs go on growing
  Record record_;
  Objective objective_;
  Stopwatch saved_;
};

}  // namespace reno
