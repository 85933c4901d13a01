// One of several processes that share a run. Batches are dealt out in turn, so every process knows its own
// without asking; each writes what grows line by line into a folder of its own, and the last to finish merges
// (merge.hpp). The images go where they belong at once.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <filesystem>

namespace reno {

struct Shard {
  static constexpr std::int64_t most = 500;

  std::int64_t index = 0;
  std::int64_t count = 1;
  std::int64_t offset = 0;  ///< batches before this run's first one, in a sweep of many runs

  /// The process does everything.
  bool whole() const { return count == 1; }

  /// The shard that a batch belongs to.
  std::int64_t owner(std::int64_t batch) const { return (offset + batch) % count; }
  bool has(std::int64_t batch) const { return owner(batch) == index; }

  /// How many of a run's batches are this shard's.
  std::int64_t share(std::int64_t batches) const {
    const std::int64_t first = ((index - offset) % count + count) % count;
    return batches > first ? (batches - first - 1) / count + 1 : 0;
  }

  /// Relative to the run directory.
  std::filesystem::path folder() const { return whole() ? "" : folder_of(index); }
  std::filesystem::path folder_of(std::int64_t shard) const { return parent() / fmt::format("{:05}", shard); }
  /// Of all shards' folders.
  std::filesystem::path parent() const { return std::filesystem::path(".shards") / fmt::to_string(count); }
};

}  // namespace reno
