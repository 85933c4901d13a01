// reno-run: reads an experiment, loads plugins, runs it, and says what came out.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/sinks/stdout_color_sinks.h>

#include <boost/dll/runtime_symbol_info.hpp>
#include <cstdlib>
#include <exception>
#include <sstream>

#include "command_line.hpp"
#include "reno/experiment/reference.hpp"
#include "reno/experiment/toml.hpp"
#include "reno/nn/operator.hpp"
#include "reno/optimizers/builtin.hpp"
#include "reno/plugin_loader.hpp"
#include "reno/program.hpp"
#include "reno/report/write_report.hpp"
#include "reno/run/device.hpp"
#include "reno/run/dry_run.hpp"
#include "reno/run/run.hpp"
#include "reno/run/signals.hpp"
#include "reno/run/sweep_run.hpp"
#include "report_page.hpp"
#include "sharing.hpp"
#include "status.hpp"
#include "summary.hpp"

namespace {

using namespace reno;

/// `lib/reno` beside the program's `bin`: the build tree is laid out as an installation.
std::filesystem::path library_directory() {
  return std::filesystem::path(boost::dll::program_location().parent_path().parent_path().string()) /
         "lib/reno";
}

/// `--plugin-dir`s, RENO_PLUGIN_PATH, and `lib/reno/plugins`.
std::vector<std::filesystem::path> plugin_directories(const CommandLine& line) {
  auto directories = line.plugins;
  for (const auto& directory : directories) {
    if (!std::filesystem::is_directory(directory)) {
      throw ConfigurationError(
          fmt::format("--plugin-dir {}: there is no such directory", directory.string()));
    }
  }
  const char* listed = std::getenv("RENO_PLUGIN_PATH");
  std::istringstream path(listed != nullptr ? listed : "");
  for (std::string directory; std::getline(path, directory, ':');) {
    if (!directory.empty()) directories.emplace_back(directory);
  }
  directories.push_back(library_directory() / "plugins");
  return directories;
}

std::shared_ptr<spdlog::logger> make_log(const CommandLine& line) {
  auto log =
      std::make_shared<spdlog::logger>("reno", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  log->set_pattern("%^%L%$ %v");
  log->set_level(line.quiet ? spdlog::level::err : line.verbose ? spdlog::level::debug : spdlog::level::info);
  return log;
}

/// reno's own operators for the device, where they were built and are wanted. The networks look for them.
void load_kernels_for(const c10::Device& device, bool wanted, Registry& registry, spdlog::logger& log) {
  if (!wanted) return log.info("kernels: LibTorch's only, since run.kernels = false");
  const auto status = load_kernels(library_directory() / "kernels", device.type(), registry);
  if (status && !status->refusal.empty())
    log.warn("{}; LibTorch's own operators do its work", status->refusal);
  const auto own = nn::own_operators(device.type());
  if (own.empty())
    return log.info("kernels: LibTorch's only; there are none of reno's own for {}", device.str());
  log.info("kernels: reno's own for {} (run.kernels = false: LibTorch's only)", fmt::join(own, ", "));
}

/// A component that is not there may be one that was refused: its reason belongs to the message.
[[noreturn]] void rethrow_with_refusals(const ConfigurationError& error,
                                        const std::vector<PluginStatus>& plugins) {
  std::string message = error.what();
  if (message.find("unknown generator") != std::string::npos ||
      message.find("unknown reward") != std::string::npos ||
      message.find("unknown optimizer") != std::string::npos) {
    for (const auto& plugin : plugins) {
      if (!plugin.refusal.empty()) message += "\n" + plugin.refusal;
    }
  }
  throw ConfigurationError(message);
}

/// With `--resume`, the directory of a run stands for the experiment in it.
Experiment read(const CommandLine& line, const Registry& registry, const std::vector<PluginStatus>& plugins) {
  try {
    if (!line.resume || !std::filesystem::is_directory(line.experiment))
      return read_experiment(line.experiment, registry, line.overrides);
    auto experiment = read_experiment(line.experiment / "experiment.toml", registry, line.overrides);
    experiment.run.output = line.experiment;
    return experiment;
  } catch (const ConfigurationError& error) {
    rethrow_with_refusals(error, plugins);
  }
}

std::string counted(std::int64_t count, const char* what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

/// Checks every cell, and rehearses the first: the others have the same models, or say what they lack when
/// their turn comes.
void list_cells(const Experiment& experiment, const Registry& registry, const CommandLine& line) {
  const SweepPlan plan(experiment);
  fmt::print("# {}\n", counted(plan.size(), "cell"));
  for (std::int64_t i = 0; i < plan.size(); ++i) {
    const Cell cell = plan.cell(i);
    cell_experiment(cell, source_of(line), experiment.run.output, registry);
    fmt::print("#   {}  {}\n", cell.folder().string(), cell.name);
  }
}

void dry_run(const Experiment& experiment, const Registry& registry, const Context& context,
             const CommandLine& line) {
  const auto prompts = count_prompts(experiment);
  const MemoryEstimate estimate = rehearse(experiment, registry, context);
  const auto images = prompts * experiment.run.images_per_prompt();
  fmt::print(
      "{}\n# {}, {}, on {}\n# expected memory for tensors: {} at the peak, {} of it weights that stay\n",
      write_toml(experiment), counted(prompts, "prompt"), counted(images, "image"), context.device.str(),
      format_bytes(estimate.peak), format_bytes(estimate.weights));
  if (experiment.sweep) list_cells(experiment, registry, line);
}

RunSettings settings_of(const CommandLine& line) {
  RunSettings settings;
  settings.existing = existing_of(line);
  settings.shard = line.shard;
  settings.quiet = line.quiet;
  settings.should_stop = [] { return stop_requested() != 0; };
  return settings;
}

void print_waiting(const Shard& shard) {
  fmt::print("  shard {}/{} is done; the last shard to finish puts the results together\n", shard.index,
             shard.count);
}

void run_single(const Experiment& experiment, const Registry& registry, const Context& context,
                const CommandLine& line) {
  RunSettings settings = settings_of(line);
  StatusFile status(experiment.run.output / line.shard.folder() / "progress.json");
  settings.on_progress = [&](double done, double all) { status.update(done, all); };
  Run job(experiment, registry, context, settings);
  try {
    const RunSummary summary = job.execute();
    status.write("ended");
    if (line.quiet) return;
    summary.results.is_null() ? print_waiting(line.shard) : print_summary(summary);
  } catch (const Interrupted&) {
    status.write("stopped");
    throw;
  } catch (const std::exception&) {
    status.try_write("failed");
    throw;
  }
}

void run_sweep(const Experiment& experiment, const Registry& registry, const Context& context,
               const CommandLine& line) {
  SweepRun sweep(experiment, source_of(line), registry, context.device, context.log, settings_of(line));
  const SweepSummary summary = sweep.execute();
  const auto& output = summary.output;
  if (summary.complete) report::write_report(output, output / "report.html", report_page());
  if (!summary.failed.empty()) {
    throw RunError(
        fmt::format("{} of {} failed, and error.txt in their folders says why; --resume tries them "
                    "again: {}",
                    summary.failed.size(), counted(summary.cells, "cell"), fmt::join(summary.failed, "; ")));
  }
  if (line.quiet) return;
  summary.complete ? print_sweep(output, summary.cells) : print_waiting(line.shard);
}

void perform(const CommandLine& line) {
  switch (line.action) {
    case Action::help:
      fmt::print("{}", help_text());
      return;
    case Action::status:
      fmt::print("{}", status_text(line.watched));
      return;
    case Action::version:
      fmt::print("reno-run {} ({})\n", version, build_fingerprint);
      return;
    default:
      break;
  }
  Registry registry;
  register_builtin_optimizers(registry);
  const auto plugins = load_plugins(plugin_directories(line), registry);
  switch (line.action) {
    case Action::list:
      fmt::print("{}", list_text(registry, plugins));
      return;
    case Action::describe:
      fmt::print("{}", describe_text(registry, line.described));
      return;
    case Action::reference:
      fmt::print("{}", reference_text(registry));
      return;
    default:
      break;
  }
  if (!line.dry_run) catch_stop_signals();
  const Experiment experiment = read(line, registry, plugins);
  const Context context = make_context(experiment, resolve_device(experiment.run.device), make_log(line));
  load_kernels_for(context.device, experiment.run.kernels, registry, *context.log);
  if (line.launcher.empty()) require_graph(experiment, registry, context);  // else it is run elsewhere
  if (line.dry_run) return dry_run(experiment, registry, context, line);
  if (!line.launcher.empty()) return launch(experiment, registry, line);
  if (line.jobs > 1) return run_jobs(experiment, registry, context.device, line);
  experiment.sweep ? run_sweep(experiment, registry, context, line)
                   : run_single(experiment, registry, context, line);
}

}  // namespace

int main(int argc, char** argv) {
  return reno::run_program("reno-run", [&] { perform(parse_command_line({argv + 1, argv + argc})); });
}
