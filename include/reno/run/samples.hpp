// The images of a run in a fixed order: every prompt with each of its seeds, in batches.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "reno/run/prompts.hpp"

namespace reno {

/// One image to be made.
struct Sample {
  std::int64_t number = 0;  ///< of all images of the run, from 0
  PromptItem prompt;
  std::uint64_t seed = 0;
};

/// A batch holds the same images whatever else a run does, since rounding may depend on a batch's size.
struct Batch {
  std::int64_t index = 0;
  std::vector<Sample> samples;  ///< empty behind the last batch
};

/// Reads prompts and hands them out as batches of images: number = prompt * images_per_prompt + k has the
/// seed run.seed + k.
class BatchReader {
 public:
  explicit BatchReader(const Experiment& experiment) : run_(experiment.run), prompts_(experiment) {}

  Batch next() {
    Batch batch;
    batch.index = index_++;
    while (std::ssize(batch.samples) < run_.batch) {
      if (k_ == 0) prompt_ = prompts_.next();
      if (!prompt_) break;
      batch.samples.push_back({number_++, *prompt_, static_cast<std::uint64_t>(run_.seed + k_)});
      k_ = (k_ + 1) % run_.images_per_prompt();
    }
    return batch;
  }

 private:
  const RunOptions& run_;
  PromptReader prompts_;
  std::optional<PromptItem> prompt_;
  std::int64_t index_ = 0;
  std::int64_t number_ = 0;
  std::int64_t k_ = 0;
};

}  // namespace reno
