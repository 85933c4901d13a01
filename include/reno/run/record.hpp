// What a run writes as it goes on: a line for each evaluation, images, and at the end of a batch the best
// image, its noise and a line for each result.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "reno/io/safetensors.hpp"
#include "reno/run/image_texts.hpp"
#include "reno/run/json_lines.hpp"
#include "reno/run/refinement.hpp"
#include "reno/run/results.hpp"
#include "reno/run/resume_point.hpp"
#include "reno/run/run_directory.hpp"
#include "reno/run/tensorboard.hpp"

namespace reno {

namespace detail {

/// Whether a file of the name `name` is what a killed process left of writing `file` (atomic_file.hpp).
inline bool is_temporary_of(std::string_view name, std::string_view file) {
  return name.size() > file.size() + 6 && name.front() == '.' && name.substr(1, file.size()) == file &&
         name[file.size() + 1] == '.' && name.ends_with(".tmp");
}

}  // namespace detail

class Record {
 public:
  Record(const RunDirectory& directory, const Experiment& experiment, std::vector<std::string> rewards)
      : directory_(directory),
        run_(experiment.run),
        rewards_(std::move(rewards)),
        metrics_(directory.own_file("metrics.jsonl")),
        results_(directory.own_file("results.jsonl")),
        image_texts_(experiment) {}

  /// Drops the lines that come again.
  void go_back_to(const ResumePoint& point) const {
    metrics_.truncate(point.metrics_bytes);
    results_.truncate(point.results_bytes);
  }

  /// Makes all lines durable and says how many bytes there are.
  void sync(ResumePoint& point) {
    metrics_.sync();
    results_.sync();
    point.metrics_bytes = metrics_.size();
    point.results_bytes = results_.size();
  }

  /// What a killed process left of files that it was writing for this batch: some evaluators take every file
  /// of a folder. Other shards' files are let be.
  void remove_leftovers(const Batch& batch) const {
    std::map<std::filesystem::path, std::vector<std::string>> names;  // by folder
    for (const auto& sample : batch.samples) {
      const auto files = sample_files(run_, sample);
      for (const auto& file : {files.initial_image, files.best_image, files.best_noise})
        names[file.parent_path()].push_back(file.filename().string());
    }
    for (const auto& [folder, wanted] : names) {
      std::error_code none;
      for (const auto& item : std::filesystem::directory_iterator(directory_.root() / folder, none)) {
        const std::string name = item.path().filename();
        const bool left = std::any_of(wanted.begin(), wanted.end(), [&](const std::string& file) {
          return detail::is_temporary_of(name, file);
        });
        if (left) std::filesystem::remove(item.path(), none);
      }
    }
  }

  void begin(const Batch& batch) {
    boards_.clear();
    if (!run_.tensorboard) return;
    for (const auto& sample : batch.samples)
      boards_.emplace_back(directory_.root() / sample_files(run_, sample).events);
  }

  void add(const Batch& batch, const Iteration& iteration) {
    for (std::size_t n = 0; n < batch.samples.size(); ++n) {
      const auto& metrics = iteration.metrics[n];
      const auto files = sample_files(run_, batch.samples[n]);
      const at::Tensor image = iteration.images[static_cast<std::int64_t>(n)];
      const auto save_image = [&](const std::filesystem::path& file) {
        write_png(directory_.file(file), image,
                  image_texts_(batch.samples[n], iteration.index, metrics, image));
      };
      metrics_.append(metrics_json(rewards_, batch.samples[n], iteration, metrics));
      if (iteration.index == 0) save_image(files.initial_image);
      if (run_.save_all_images) save_image(files.iterations / fmt::format("{:05}.png", iteration.index));
      if (!boards_.empty()) log_to_board(boards_[n], iteration, metrics, image);
    }
  }

  /// Writes what is known of each image of the batch; `refinement` where there are such images.
  void save(const Batch& batch, const std::vector<ImageResult>& results,
            const std::optional<Refinement>& refinement = {}) {
    for (std::size_t n = 0; n < results.size(); ++n) {
      const auto& result = results[n];
      if (!result.best_image.defined()) continue;
      const Sample& sample = batch.samples[n];
      const auto files = sample_files(run_, sample);
      if (const auto told = prompt_file(run_, sample.prompt))
        write_file_atomically(directory_.file(told->first), told->second);
      if (result.previewed)
        write_png(directory_.file(files.initial_image), result.initial_image,
                  image_texts_(sample, 0, result.initial, result.initial_image));
      write_png(directory_.file(files.best_image), result.best_image,
                image_texts_(sample, result.best_iteration, result.best, result.best_image));
      if (!boards_.empty()) boards_[n].image(result.best_iteration, "image/best", result.best_image);
      write_safetensors(directory_.file(files.best_noise), {{"noise", result.best_noise.unsqueeze(0).cpu()}},
                        {});
      std::optional<RefinedMetrics> refined;
      if (refinement) {
        refined = {refinement->initial.metrics[n], refinement->best.metrics[n]};
        save_refined(sample, 0, files.refined_initial_image, refinement->initial, n);
        save_refined(sample, result.best_iteration, files.refined_best_image, refinement->best, n);
      }
      results_.append(result_json(rewards_, sample, files, result, refined));
    }
  }

 private:
  void save_refined(const Sample& sample, std::int64_t iteration, const std::filesystem::path& file,
                    const RefinedImages& refined, std::size_t n) const {
    const at::Tensor image = refined.images[static_cast<std::int64_t>(n)];
    write_png(directory_.file(file), image,
              image_texts_.refined(sample, iteration, refined.metrics[n], image));
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

  const RunDirectory& directory_;
  const RunOptions& run_;
  std::vector<std::string> rewards_;
  JsonLines metrics_;
  JsonLines results_;
  ImageTexts image_texts_;
  std::vector<TensorBoardLog> boards_;  ///< one per image of the batch, none when not wanted
};

}  // namespace reno
