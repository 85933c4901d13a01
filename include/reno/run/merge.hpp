// Shards become one run: their lines are brought into the order of a single process. Each batch has a fixed
// number of lines and a known owner, so lines are copied and never parsed, however many there are.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "reno/io/atomic_file.hpp"
#include "reno/run/conclude.hpp"
#include "reno/run/lock.hpp"
#include "reno/run/resume_point.hpp"
#include "reno/run/shard.hpp"

namespace reno {

/// What has to be known of a run to put it together.
struct MergePlan {
  std::filesystem::path root;
  Shard shard;  ///< any of them
  std::int64_t images = 0;
  std::int64_t batch = 1;
  std::int64_t iterations = 1;

  std::int64_t batches() const { return (images + batch - 1) / batch; }
  std::int64_t images_of(std::int64_t index) const { return std::min(batch, images - index * batch); }
};

/// The costs of all shards, if all that have work have finished.
inline std::optional<Costs> finished_costs(const MergePlan& plan) {
  Costs costs;
  for (std::int64_t i = 0; i < plan.shard.count; ++i) {
    Shard shard = plan.shard;
    shard.index = i;
    if (shard.share(plan.batches()) == 0) continue;
    const auto point = read_resume_point(plan.root / shard.folder() / "resume.safetensors");
    if (!point || !point->finished) return std::nullopt;
    costs.add(point->costs);
  }
  return costs;
}

namespace detail {

/// Copies from each shard's file, batch by batch, `lines_per_image` lines for each of its images.
inline void merge_lines(const MergePlan& plan, const std::string& name, std::int64_t lines_per_image) {
  std::vector<std::ifstream> streams;
  for (std::int64_t i = 0; i < plan.shard.count; ++i)
    streams.emplace_back(plan.root / plan.shard.folder_of(i) / name, std::ios::binary);
  AtomicFile merged(plan.root / name);
  std::string line;
  for (std::int64_t batch = 0; batch < plan.batches(); ++batch) {
    const std::int64_t owner = plan.shard.owner(batch);
    for (std::int64_t n = plan.images_of(batch) * lines_per_image; n > 0; --n) {
      if (!std::getline(streams[static_cast<std::size_t>(owner)], line)) {
        throw LoadError(fmt::format("{}: has fewer lines than the shard has written",
                                    (plan.root / plan.shard.folder_of(owner) / name).string()));
      }
      merged.write(line + "\n");
    }
  }
  merged.commit();
}

}  // namespace detail

/// Puts the shards together when all have finished, and no other process has begun to; null otherwise.
inline nlohmann::ordered_json conclude_shards(const MergePlan& plan, const Experiment& experiment,
                                              const std::string& device) {
  const auto costs = finished_costs(plan);
  if (!costs) return {};
  const auto lock = DirectoryLock::try_lock(plan.root / plan.shard.parent());
  if (!lock) return {};
  detail::merge_lines(plan, "metrics.jsonl", plan.iterations);
  detail::merge_lines(plan, "results.jsonl", 1);
  return conclude(plan.root, experiment, true, *costs, device);
}

}  // namespace reno
