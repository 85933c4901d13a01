#include "sharing.hpp"

#include <fmt/format.h>
#include <torch/cuda.h>

#include <algorithm>
#include <boost/dll/runtime_symbol_info.hpp>
#include <cstdlib>
#include <thread>

#include "reno/run/device.hpp"
#include "reno/run/same_experiment.hpp"
#include "slurm.hpp"
#include "summary.hpp"
#include "workers.hpp"

namespace reno {

ExperimentSource source_of(const CommandLine& line) {
  const bool directory = line.resume && std::filesystem::is_directory(line.experiment);
  return {directory ? line.experiment / "experiment.toml" : line.experiment, line.overrides};
}

Existing existing_of(const CommandLine& line) {
  return line.overwrite ? Existing::overwrite : line.resume ? Existing::resume : Existing::refuse;
}

namespace {

/// Makes the directory ready for so many shards, which then continue what is there.
void begin_shards(const Experiment& experiment, const Registry& registry, const CommandLine& line,
                  std::int64_t shards) {
  const auto& output = experiment.run.output;
  if (experiment.sweep) {
    const SweepPlan plan(experiment);  // what is wrong with a cell is said before anything is started
    for (std::int64_t i = 0; i < plan.size(); ++i)
      cell_experiment(plan.cell(i), source_of(line), output, registry);
  }
  if (!line.resume) const RunDirectory fresh(output, existing_of(line));
  for (std::int64_t i = 0; i < shards; ++i)
    std::filesystem::create_directories(output / Shard{i, shards}.folder());
  begin_directory(output, experiment, registry);
}

/// The command of one shard, but for which one.
std::vector<std::string> shard_command(const std::filesystem::path& output, const CommandLine& line) {
  std::vector<std::string> words = {std::filesystem::absolute(output).string(), "--resume", "--quiet"};
  for (const auto& directory : line.plugins)
    words.insert(words.end(), {"--plugin-dir", std::filesystem::absolute(directory).string()});
  return words;
}

/// Threads for each of several processes on this machine, where nobody has said; those that wait leave the
/// core to the others.
void share_threads(std::int64_t processes) {
  const auto cores = static_cast<std::int64_t>(std::thread::hardware_concurrency());
  ::setenv("OMP_NUM_THREADS", fmt::to_string(std::max<std::int64_t>(1, cores / processes)).c_str(), 0);
  ::setenv("OMP_WAIT_POLICY", "passive", 0);
}

}  // namespace

void run_jobs(const Experiment& experiment, const Registry& registry, c10::Device device,
              const CommandLine& line) {
  const auto& output = experiment.run.output;
  begin_shards(experiment, registry, line, line.jobs);
  Workers workers{boost::dll::program_location().string(), output, {}, {}, line.quiet};
  const std::int64_t gpus = device.is_cuda() ? torch::cuda::device_count() : 0;
  for (std::int64_t i = 0; i < line.jobs; ++i) {
    const Shard shard{i, line.jobs};
    auto words = shard_command(output, line);
    words.insert(words.end(), {"--shard", fmt::format("{}/{}", i, line.jobs)});
    words.insert(words.end(), {"--set", "run.device=" + process_device(experiment.run.device, gpus, i)});
    workers.arguments.push_back(std::move(words));
    workers.logs.push_back(output / shard.folder() / "log.txt");
  }
  share_threads(line.jobs);
  run_workers(workers);
  if (line.quiet) return;
  if (experiment.sweep) return print_sweep(output, SweepPlan(experiment).size());
  print_summary({nlohmann::ordered_json(read_json_object(output / "results.json")), output});
}

void launch(const Experiment& experiment, const Registry& registry, const CommandLine& line) {
  const auto options = experiment.launcher.value_or(LauncherOptions{});
  const auto output = std::filesystem::absolute(experiment.run.output);
  const auto folder = output / "slurm";
  auto command = shard_command(output, line);
  command.insert(command.begin(), boost::dll::program_location().string());
  command.emplace_back("--shard");
  const std::string script = slurm_script(options, "reno-" + output.filename().string(), folder, command);
  begin_shards(experiment, registry, line, options.shards);
  std::filesystem::create_directories(folder);
  write_file_atomically(folder / "job.sh", script);
  const std::string job = submit(folder / "job.sh");
  if (!line.quiet) {
    fmt::print(
        "  job {}: {} tasks\n  progress: reno-run --status {}\n  again, if it was cancelled: reno-run {} "
        "--resume --launcher slurm\n",
        job, options.shards, output.string(), output.string());
  }
}

}  // namespace reno
