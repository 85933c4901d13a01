// `[launcher]`: how a cluster is asked for what `--launcher slurm` starts.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "reno/options.hpp"

namespace reno {

struct LauncherOptions {
  std::int64_t shards = 8;
  std::string partition;
  std::string account;
  std::string time = "1:00:00";
  std::int64_t gpus = 1;
  std::int64_t cpus = 4;
  std::string memory;
  std::int64_t grace_seconds = 120;
  std::vector<std::string> more;
  std::vector<std::string> setup;

  void describe(auto& field) {
    field("shards", shards, "tasks of the array job that share the work", bounds{1, 500});
    field("partition", partition, "empty: the cluster's default");
    field("account", account, "empty: the user's default");
    field("time", time, "limit of each task, as sbatch takes it; what is not done by then is queued again");
    field("gpus", gpus, "per task", bounds{0});
    field("cpus", cpus, "per task", bounds{1});
    field("memory", memory, "per task, such as 32G; empty: the cluster's default");
    field("grace_seconds", grace_seconds, "how long before the limit a task saves and is queued again",
          bounds{1, 65535});
    field("options", more, "more options of sbatch, such as \"--qos=high\"");
    field("setup", setup, "shell commands before reno-run, such as \"module load cuda\"");
  }

  bool operator==(const LauncherOptions&) const = default;
};

}  // namespace reno
