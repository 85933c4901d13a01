// What `reno-run --status` prints, and one progress for several processes.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "reno/run/status.hpp"

namespace reno {

/// "37 %, 18 of 50 batches, 2 failed": all shards together.
std::string overall_text(const std::vector<ShardStatus>& statuses);

/// Share of the work that is done, from 0 to 1.
double overall_share(const std::vector<ShardStatus>& statuses);

/// A line per shard, and all together. Throws ConfigurationError when the directory holds no run.
std::string status_text(const std::filesystem::path& directory);

}  // namespace reno
