// A whole run: prompts in, improved images out. Reads like its table of contents; each part has a header of
// its own beside this one.
#pragma once

#include <torch/version.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "reno/experiment/write_toml.hpp"
#include "reno/image/comparison.hpp"
#include "reno/io/safetensors.hpp"
#include "reno/plugin.hpp"
#include "reno/run/context.hpp"
#include "reno/run/image_texts.hpp"
#include "reno/run/json_lines.hpp"
#include "reno/run/memory.hpp"
#include "reno/run/noise.hpp"
#include "reno/run/progress.hpp"
#include "reno/run/prompts.hpp"
#include "reno/run/report.hpp"
#include "reno/run/results.hpp"
#include "reno/run/run_directory.hpp"
#include "reno/run/tensorboard.hpp"
#include "reno/version.hpp"

namespace reno {

struct RunSettings {
  bool overwrite = false;  ///< replace a run that the output directory already holds
  bool quiet = false;      ///< no progress
  std::function<bool()> should_stop = [] { return false; };
};

/// What a finished run tells its caller.
struct RunSummary {
  std::vector<std::string> rewards;
  Means means;
  Costs costs;
  Comparison comparison;
  std::filesystem::path output;
};

namespace detail {

/// Does the work and adds the seconds that it took.
template <class Work>
auto timed(double& seconds, const Work& work) {
  const auto started = std::chrono::steady_clock::now();
  auto result = work();
  seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  return result;
}

}  // namespace detail

/// One experiment on one machine.
class Run {
 public:
  Run(const Experiment& experiment, const Registry& registry, Context context, RunSettings settings)
      : experiment_(experiment),
        registry_(registry),
        context_(std::move(context)),
        settings_(std::move(settings)),
        prompt_count_(count_prompts(experiment)),
        fixed_noise_(read_fixed_noise()),
        directory_(experiment.run.output, experiment.run.task == Task::single, settings_.overwrite),
        metrics_(directory_.file("metrics.jsonl")),
        results_(directory_.file("results.jsonl")),
        objective_(detail::timed(summary_.costs.load_seconds,
                                 [&] { return load_objective(experiment, registry, context_); })),
        report_(reward_names()),
        image_texts_(experiment) {
    summary_.rewards = reward_names();
    summary_.output = directory_.root();
    write_file_atomically(directory_.file("experiment.toml"), write_toml(experiment_));
  }

  /// Throws Interrupted after saving when `should_stop` says so, and whatever the components throw, after
  /// saving what there is.
  RunSummary execute() {
    const auto& run = experiment_.run;
    Progress progress(prompt_count_, run.batch, iterations(), context_.log, settings_.quiet);
    PromptReader reader(experiment_);
    for (auto batch = next_batch(reader); !batch.empty(); batch = next_batch(reader)) {
      run_batch(batch, progress);
      if (settings_.should_stop()) break;
    }
    finish();
    if (settings_.should_stop()) {
      throw Interrupted(
          fmt::format("interrupted; what was done so far is in {}", directory_.root().string()));
    }
    return std::move(summary_);
  }

 private:
  std::int64_t iterations() const {
    return experiment_.run.mode == Mode::no_optim ? 1 : experiment_.run.iterations;
  }

  std::vector<std::string> reward_names() const {
    std::vector<std::string> names;
    for (const auto& term : experiment_.rewards) names.push_back(term.name);
    return names;
  }

  std::vector<PromptItem> next_batch(PromptReader& reader) const {
    std::vector<PromptItem> batch;
    while (std::ssize(batch) < experiment_.run.batch) {
      auto item = reader.next();
      if (!item) break;
      batch.push_back(std::move(*item));
    }
    return batch;
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

  /// Noise of one prompt to begin with, (1, ...) float32 on the CPU.
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

  void run_batch(const std::vector<PromptItem>& batch, Progress& progress) {
    Prompts texts;
    std::vector<NoiseSource> sources;
    std::vector<at::Tensor> noises;
    for (const auto& item : batch) {
      texts.push_back(item.text);
      sources.emplace_back(context_.seed, item.index, objective_.generator().noise_shape());
      noises.push_back(initial_noise(sources.back()));
    }
    const auto to_run = [&](const std::vector<at::Tensor>& parts) {
      return at::cat(parts).to(context_.device, context_.master_dtype());
    };
    at::Tensor noise = to_run(noises);
    const auto encoded =
        detail::timed(summary_.costs.encode_seconds, [&] { return objective_.encode(texts); });

    boards_.clear();
    if (experiment_.run.tensorboard) {
      for (const auto& item : batch) boards_.emplace_back(directory_.tensorboard(item.index));
    }
    std::vector<ImageResult> results;
    LoopOptions loop;
    loop.iterations = iterations();
    loop.with_gradient = experiment_.run.mode == Mode::optimize;
    loop.should_stop = settings_.should_stop;
    loop.on_iteration = [&](const Iteration& iteration) { record(batch, iteration, results, progress); };

    NextNoise next_noise = [&](at::Tensor& current, const Evaluation&, const Evaluate&) {
      std::vector<at::Tensor> fresh;
      for (auto& source : sources) fresh.push_back(source.draw());
      current = to_run(fresh);
    };
    if (loop.with_gradient) {
      auto optimizer = std::make_shared<AnyOptimizer>(make_optimizer(experiment_, registry_, context_));
      next_noise = [optimizer](at::Tensor& current, const Evaluation& evaluation, const Evaluate& evaluate) {
        optimizer->step(current, evaluation, evaluate);
      };
    }
    try {
      optimize_noise(objective_, encoded, noise, next_noise, loop, results);
    } catch (const std::exception&) {
      progress.clear();
      save(batch, results);
      throw;
    }
    save(batch, results);
  }

  void record(const std::vector<PromptItem>& batch, const Iteration& iteration,
              const std::vector<ImageResult>& results, Progress& progress) {
    double total = 0.0;
    double best = 0.0;
    for (std::size_t n = 0; n < batch.size(); ++n) {
      const auto& metrics = iteration.metrics[n];
      total += metrics.total / static_cast<double>(batch.size());
      best += results[n].best.total / static_cast<double>(batch.size());
      metrics_.append(metrics_json(summary_.rewards, batch[n].index, iteration, metrics));
      const at::Tensor image = iteration.images[static_cast<std::int64_t>(n)];
      const auto save_image = [&](const std::filesystem::path& file) {
        write_png(file, image, image_texts_(batch[n], iteration.index, metrics, image));
      };
      if (iteration.index == 0) save_image(directory_.prompt_folder(batch[n].index) / "init_image.png");
      if (experiment_.run.save_all_images)
        save_image(directory_.iteration_image(batch[n].index, iteration.index));
      if (!boards_.empty()) log_to_board(boards_[n], iteration, metrics, image);
    }
    summary_.costs.optimize_seconds += iteration.seconds;
    ++summary_.costs.iterations;
    progress.update(batch.front().index, iteration.index, total, best);
  }

  void log_to_board(TensorBoardLog& board, const Iteration& iteration, const ImageMetrics& metrics,
                    const at::Tensor& image) const {
    std::vector<std::pair<std::string, double>> scalars;
    for (std::size_t k = 0; k < metrics.scores.size(); ++k) {
      scalars.emplace_back("score/" + summary_.rewards[k], metrics.scores[k]);
    }
    scalars.insert(scalars.end(), {{"loss/total", metrics.total},
                                   {"loss/regularization", metrics.regularization},
                                   {"noise/norm", metrics.norm},
                                   {"time/seconds", iteration.seconds}});
    if (metrics.grad_norm) scalars.emplace_back("noise/grad_norm", *metrics.grad_norm);
    board.scalars(iteration.index, scalars);
    if (iteration.index == 0) board.image(0, "image/initial", image);
  }

  /// Writes what is known of each prompt of the batch.
  void save(const std::vector<PromptItem>& batch, const std::vector<ImageResult>& results) {
    for (std::size_t n = 0; n < results.size(); ++n) {
      const auto& result = results[n];
      if (!result.best_image.defined()) continue;
      const auto folder = directory_.prompt_folder(batch[n].index);
      if (experiment_.run.task != Task::single)
        write_file_atomically(folder / "prompt.txt", batch[n].text + "\n");
      write_png(folder / "best_image.png", result.best_image,
                image_texts_(batch[n], result.best_iteration, result.best, result.best_image));
      if (!boards_.empty()) boards_[n].image(result.best_iteration, "image/best", result.best_image);
      write_safetensors(folder / "best_noise.safetensors", {{"noise", result.best_noise.unsqueeze(0).cpu()}},
                        {});
      results_.append(result_json(summary_.rewards, batch[n], context_.seed, result));
      summary_.means.add(result);
      summary_.comparison.add(result.initial_image, result.best_image);
      report_.add(batch[n].text, result);
    }
    results_.sync();
    metrics_.sync();
  }

  void finish() {
    summary_.costs.peak_bytes = peak_memory(context_.device);
    auto summary = summary_json(summary_.rewards, summary_.means, summary_.costs);
    summary["seed"] = context_.seed;
    summary["device"] = context_.device.str();
    summary["versions"] = {{"reno", version}, {"libtorch", TORCH_VERSION}, {"build", build_fingerprint}};
    write_file_atomically(directory_.file("results.json"), summary.dump(2) + "\n");
    report_.write(directory_.file("report.html"), "reno: " + directory_.root().filename().string(),
                  write_toml(experiment_));
    if (!summary_.comparison.empty())
      write_png(directory_.file("comparison.png"), summary_.comparison.sheet());
  }

  const Experiment& experiment_;
  const Registry& registry_;
  Context context_;
  RunSettings settings_;
  std::int64_t prompt_count_;
  at::Tensor fixed_noise_;
  RunSummary summary_;
  RunDirectory directory_;
  JsonLines metrics_;
  JsonLines results_;
  Objective objective_;
  Report report_;
  ImageTexts image_texts_;
  std::vector<TensorBoardLog> boards_;  ///< one per prompt of the batch, if wanted
};

}  // namespace reno
