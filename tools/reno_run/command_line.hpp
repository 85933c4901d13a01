// The command line of `reno-run` as plain data.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "reno/run/shard.hpp"

namespace reno {

/// What `reno-run` is asked to do.
enum class Action { run, help, version, list, describe, reference, status };

struct CommandLine {
  Action action = Action::run;
  std::filesystem::path experiment;            ///< of a run
  std::vector<std::string> overrides;          ///< of a run, "section.key=value" each, `--output` last
  std::string described;                       ///< of describe: a component or a section
  std::filesystem::path watched;               ///< of status: the directory of a run or sweep
  std::vector<std::filesystem::path> plugins;  ///< directories of `--plugin-dir`
  bool dry_run = false;
  bool overwrite = false;
  bool resume = false;
  Shard shard;            ///< of `--shard`
  std::int64_t jobs = 1;  ///< local processes that share the work
  std::string launcher;   ///< "slurm", or empty
  bool quiet = false;
  bool verbose = false;
};

/// `arguments` are those behind the program's name. Throws ConfigurationError with one sentence.
CommandLine parse_command_line(const std::vector<std::string>& arguments);

/// What `--help` prints.
std::string help_text();

}  // namespace reno
