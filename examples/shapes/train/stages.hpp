// What can be trained, one function each, so that each compiles by itself.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "shapes/train/training_loop.hpp"

namespace reno::shapes {

struct StageOptions {
  std::filesystem::path output;
  std::filesystem::path checkpoints;
  std::uint64_t seed = 0;
  bool tiny = false;  ///< small batches and few steps
  double scale = 1;   ///< multiplies the numbers of steps
  int report_every = 100, save_every = 500;

  /// `folder` is relative to the output.
  TrainingFiles files(const std::string& folder) const {
    const auto name = std::filesystem::path(folder).filename().string() + ".safetensors";
    return {output / folder, checkpoints / name, report_every, save_every};
  }
};

/// What later rewards start from. Throws ConfigurationError if the stage clip has not been trained.
inline std::filesystem::path clip_checkpoint(const StageOptions& options, const std::string& stage) {
  const auto file = options.files("rewards/clip").checkpoint;
  if (!std::filesystem::exists(file))
    throw ConfigurationError(
        fmt::format("{} builds on the stage clip, whose checkpoint {} is missing: train clip first", stage,
                    file.string()));
  return file;
}

void train_generator(const StageOptions& options);
void train_clip(const StageOptions& options);
void train_pickscore(const StageOptions& options);
void train_hpsv2(const StageOptions& options);
void train_aesthetic(const StageOptions& options);
void train_imagereward(const StageOptions& options);

}  // namespace reno::shapes
