#include "slurm.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <boost/algorithm/string/replace.hpp>
#include <boost/algorithm/string/trim.hpp>
#include <cstdio>

#include "reno/error.hpp"
#include "reno/experiment/slurm_time.hpp"
#include "reno/io/json_file.hpp"

namespace reno {

namespace {

std::string shell_word(const std::string& text) {
  return "'" + boost::algorithm::replace_all_copy(text, "'", "'\\''") + "'";
}

/// Slurm sends its signal so long before the limit: at once where the limit is no longer than that, and again
/// each time the task is queued again.
void require_time_to_work(const LauncherOptions& options) {
  const auto limit = slurm_seconds(options.time);
  if (!limit || *limit > options.grace_seconds) return;
  throw ConfigurationError(fmt::format(
      "launcher.grace_seconds = {} leaves no time to work within launcher.time = \"{}\"; it must be shorter",
      options.grace_seconds, options.time));
}

/// A value that could end its line or its quotes would be read as something else.
std::string directive(const std::string& option, const std::string& value) {
  const bool harmless =
      std::ranges::none_of(value, [](unsigned char c) { return c < 0x20 || c == 0x7F || c == '"'; });
  if (!harmless)
    throw ConfigurationError(
        fmt::format("sbatch's --{} cannot hold quotes or control characters: {}", option, in_quotes(value)));
  return value.empty() ? "" : fmt::format("#SBATCH --{}=\"{}\"\n", option, value);
}

}  // namespace

std::string slurm_script(const LauncherOptions& options, const std::string& name,
                         const std::filesystem::path& folder, const std::vector<std::string>& command) {
  require_time_to_work(options);
  std::string text = "#!/bin/bash\n";
  text += directive("job-name", name);
  text += directive("array", fmt::format("0-{}", options.shards - 1));
  text += directive("partition", options.partition) + directive("account", options.account);
  text += directive("time", options.time);
  text += directive("cpus-per-task", fmt::to_string(options.cpus));
  if (options.gpus > 0) text += directive("gpus-per-task", fmt::to_string(options.gpus));
  text += directive("mem", options.memory);
  text += directive("signal", fmt::format("B:USR1@{}", options.grace_seconds));
  text += directive("output", (folder / "%a.log").string());
  text += "#SBATCH --ntasks=1\n#SBATCH --requeue\n#SBATCH --open-mode=append\n";
  for (const auto& option : options.more) text += fmt::format("#SBATCH {}\n", option);
  text += fmt::format("\nexport OMP_NUM_THREADS={}\n", options.cpus);
  for (const auto& line : options.setup) text += line + "\n";
  std::vector<std::string> words;
  for (const auto& word : command) words.push_back(shell_word(word));
  text += fmt::format(R"(
{} "$SLURM_ARRAY_TASK_ID/{}" &
worker=$!
again=0
trap 'again=1; kill -USR1 $worker' USR1
trap 'kill -TERM $worker' TERM
wait $worker
# A signal ends a wait, not the worker; its own status is that of a wait after its end.
while kill -0 $worker 2> /dev/null; do wait $worker; done
wait $worker
code=$?
# 130: it has saved and can go on; 138: it was hardly there.
if [ $again = 1 ] && {{ [ $code = 130 ] || [ $code = 138 ]; }}; then
  for pause in 1 5 10; do  # "Job can not be altered now, try again later"
    scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}" && break
    sleep $pause
  done
fi
exit $code
)",
                      fmt::join(words, " "), options.shards);
  return text;
}

std::string submit(const std::filesystem::path& script) {
  const std::string command = fmt::format("sbatch --parsable {} 2>&1", shell_word(script.string()));
  std::FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) throw RunError("sbatch cannot be started");
  std::string said;
  std::array<char, 256> buffer{};
  while (std::fgets(buffer.data(), buffer.size(), pipe) != nullptr) said += buffer.data();
  boost::algorithm::trim(said);
  if (::pclose(pipe) != 0) throw RunError(fmt::format("sbatch has not taken {}: {}", script.string(), said));
  return said.substr(0, said.find(';'));
}

}  // namespace reno
