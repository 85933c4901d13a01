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

void train_generator(const StageOptions& options);

}  // namespace reno::shapes
