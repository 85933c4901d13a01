// `--launcher slurm`: the shards of a run as the tasks of an array job.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "reno/experiment/launcher_options.hpp"

namespace reno {

/// The batch script. Each task runs `command` (words; the last argument, I/N, is added) as its shard. Before
/// the time limit Slurm sends SIGUSR1; the task then saves and is queued again.
std::string slurm_script(const LauncherOptions& options, const std::string& name,
                         const std::filesystem::path& folder, const std::vector<std::string>& command);

/// Hands the script to sbatch; the number of the job. Throws RunError with what sbatch said.
std::string submit(const std::filesystem::path& script);

}  // namespace reno
