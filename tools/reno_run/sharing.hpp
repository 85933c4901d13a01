// How work is shared among processes: local ones, or the tasks of a cluster's array job.
#pragma once

#include <c10/core/Device.h>

#include "command_line.hpp"
#include "reno/run/run_directory.hpp"
#include "reno/run/sweep.hpp"

namespace reno {

/// Where the experiment is read from, and with it the cells of a sweep.
ExperimentSource source_of(const CommandLine& line);

Existing existing_of(const CommandLine& line);

/// `--jobs`: runs the shards in processes of their own and prints what came out.
void run_jobs(const Experiment& experiment, const Registry& registry, c10::Device device,
              const CommandLine& line);

/// `--launcher slurm`: submits the shards and prints how to follow them.
void launch(const Experiment& experiment, const Registry& registry, const CommandLine& line);

}  // namespace reno
