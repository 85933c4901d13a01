// A whole run: prompts in, improved images out. Reads like its table of contents; each part has a header of
// its own beside this one.
#pragma once

#include <algorithm>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "reno/experiment/inputs.hpp"
#include "reno/experiment/write_toml.hpp"
#include "reno/io/safetensors.hpp"
#include "reno/run/conclude.hpp"
#include "reno/run/context.hpp"
#include "reno/run/costs.hpp"
#include "reno/run/image_texts.hpp"
#include "reno/run/json_lines.hpp"
#include "reno/run/memory.hpp"
#include "reno/run/noise.hpp"
#include "reno/run/progress.hpp"
#include "reno/run/results.hpp"
#include "reno/run/run_directory.hpp"
#include "reno/run/tensorboard.hpp"

namespace reno {

struct RunSettings {
  bool overwrite = false;  ///< replace a run that the output directory already holds
  bool quiet = false;      ///< no progress
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
        rewards_(reward_names(experiment)),
        image_count_(count_prompts(experiment) * experiment.run.images_per_prompt()),
        fixed_noise_(read_fixed_noise()),
        directory_(experiment.run.output, settings_.overwrite),
        metrics_(directory_.file("metrics.jsonl")),
        results_(directory_.file("results.jsonl")),
        objective_(detail::timed(costs_.load_seconds,
                                 [&] { return load_objective(experiment, registry, context_); })),
        image_texts_(experiment) {
    write_file_atomically(directory_.file("experiment.toml"), write_toml(with_absolute_inputs(experiment_)));
  }

  /// Throws Interrupted after saving when `should_stop` says so, and whatever the components throw, after
  /// saving what there is.
  RunSummary execute() {
    Progress progress(image_count_, experiment_.run.batch, iterations(), context_.log, settings_.quiet);
    BatchReader reader(experiment_);
    for (auto batch = reader.next(); !batch.samples.empty(); batch = reader.next()) {
      run_batch(batch, progress);
      if (settings_.should_stop()) break;
    }
    progress.clear();
    costs_.peak_bytes = peak_memory(context_.device);
    auto results = conclude(directory_.root(), experiment_, image_count_, costs_, context_.device.str());
    if (settings_.should_stop()) {
      throw Interrupted(
          fmt::format("interrupted; what was done so far is in {}", directory_.root().string()));
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

  void run_batch(const Batch& batch, Progress& progress) {
    Prompts texts;
    std::vector<NoiseSource> sources;
    std::vector<at::Tensor> noises;
    for (const auto& sample : batch.samples) {
      texts.push_back(sample.prompt.text);
      sources.emplace_back(sample.seed, sample.prompt.index, objective_.generator().noise_shape());
      noises.push_back(initial_noise(sources.back()));
    }
    const auto to_run = [&](const std::vector<at::Tensor>& parts) {
      return at::cat(parts).to(context_.device, context_.master_dtype());
    };
    at::Tensor noise = to_run(noises);
    const auto encoded = detail::timed(costs_.encode_seconds, [&] { return objective_.encode(texts); });

    boards_.clear();
    if (experiment_.run.tensorboard) {
      for (const auto& sample : batch.samples)
        boards_.emplace_back(directory_.root() / sample_files(experiment_.run, sample).events);
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

  void record(const Batch& batch, const Iteration& iteration, const std::vector<ImageResult>& results,
              Progress& progress) {
    double total = 0.0;
    double best = 0.0;
    for (std::size_t n = 0; n < batch.samples.size(); ++n) {
      const auto& metrics = iteration.metrics[n];
      total += metrics.total / static_cast<double>(batch.samples.size());
      best += results[n].best.total / static_cast<double>(batch.samples.size());
      metrics_.append(metrics_json(rewards_, batch.samples[n], iteration, metrics));
      const auto files = sample_files(experiment_.run, batch.samples[n]);
      const at::Tensor image = iteration.images[static_cast<std::int64_t>(n)];
      const auto save_image = [&](const std::filesystem::path& file) {
        write_png(directory_.file(file), image,
                  image_texts_(batch.samples[n], iteration.index, metrics, image));
      };
      if (iteration.index == 0) save_image(files.initial_image);
      if (experiment_.run.save_all_images)
        save_image(files.iterations / fmt::format("{:05}.png", iteration.index));
      if (!boards_.empty()) log_to_board(boards_[n], iteration, metrics, image);
    }
    costs_.optimize_seconds += iteration.seconds;
    ++costs_.iterations;
    progress.update(batch.samples.front().number, iteration.index, total, best);
  }

  void log_to_board(TensorBoardLog& board, const Iteration& iteration, const ImageMetrics& metrics,
                    const at::Tensor& image) const {
    std::vector<std::pair<std::string, double>> scalars;
    for (std::size_t k = 0; k < metrics.scores.size(); ++k) {
      scalars.emplace_back("score/" + rewards_[k], metrics.scores[k]);
    }
    scalars.insert(scalars.end(), {{"loss/total", metrics.total},
                                   {"loss/regularization", metrics.regularization},
                                   {"noise/norm", metrics.norm},
                                   {"time/seconds", iteration.seconds}});
    if (metrics.grad_norm) scalars.emplace_back("noise/grad_norm", *metrics.grad_norm);
    board.scalars(iteration.index, scalars);
    if (iteration.index == 0) board.image(0, "image/initial", image);
  }

  /// Writes what is known of each image of the batch.
  void save(const Batch& batch, const std::vector<ImageResult>& results) {
    for (std::size_t n = 0; n < results.size(); ++n) {
      const auto& result = results[n];
      if (!result.best_image.defined()) continue;
      const Sample& sample = batch.samples[n];
      const auto files = sample_files(experiment_.run, sample);
      if (const auto told = prompt_file(experiment_.run, sample.prompt))
        write_file_atomically(directory_.file(told->first), told->second);
      write_png(directory_.file(files.best_image), result.best_image,
                image_texts_(sample, result.best_iteration, result.best, result.best_image));
      if (!boards_.empty()) boards_[n].image(result.best_iteration, "image/best", result.best_image);
      write_safetensors(directory_.file(files.best_noise), {{"noise", result.best_noise.unsqueeze(0).cpu()}},
                        {});
      results_.append(result_json(rewards_, sample, files, result));
    }
    results_.sync();
    metrics_.sync();
  }

  const Experiment& experiment_;
  const Registry& registry_;
  Context context_;
  RunSettings settings_;
  std::vector<std::string> rewards_;
  std::int64_t image_count_;
  at::Tensor fixed_noise_;
  Costs costs_;
  RunDirectory directory_;
  JsonLines metrics_;
  JsonLines results_;
  Objective objective_;
  ImageTexts image_texts_;
  std::vector<TensorBoardLog> boards_;  ///< one per image of the batch, none when not wanted
};

}  // namespace reno
