// Sweeps and shards in real processes.
#include <catch2/catch.hpp>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <thread>

#include "support/program.hpp"

namespace {

using namespace reno::test;
using Catch::Contains;
namespace fs = std::filesystem;

const std::string shapes = std::string(RENO_SOURCE_DIR) + "/examples/shapes";

/// A short sweep: three cells of three batches each.
std::vector<std::string> arguments(const TemporaryFolder& folder, const std::string& output,
                                   const std::vector<std::string>& more = {}) {
  std::ofstream(folder.path() / "sweep.toml")
      << "[run]\ndevice = \"cpu\"\ntask = \"example-prompts\"\nprompts = \"" << RENO_SOURCE_DIR
      << "/configs/quickstart-prompts.txt\"\niterations = 2\nbatch = 2\n"
      << "[generator]\nplugin = \"sd-turbo\"\nweights = \"" << shapes << "/generator\"\n"
      << "[[reward]]\nplugin = \"clip-score\"\nweights = \"" << shapes << "/rewards/clip\"\n"
      << "[[reward]]\nplugin = \"pickscore\"\nweights = \"" << shapes << "/rewards/pickscore\"\n"
      << "[sweep]\nkind = \"leave-one-out\"\n";
  std::vector<std::string> all = {(folder.path() / "sweep.toml").string(), "--output",
                                  (folder.path() / output).string()};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

TEST_CASE("a sweep leaves table and page, the same from several processes", "[cli][sweep]") {
  const TemporaryFolder folder;
  const Outcome rehearsal = reno_run(arguments(folder, "none", {"--dry-run"}));
  CHECK(rehearsal.status == 0);
  CHECK_THAT(rehearsal.output, Contains("kind = \"leave-one-out\"") && Contains("cells/00000  all") &&
                                   Contains("cells/00001  without clip-score"));
  CHECK_FALSE(fs::exists(folder.path() / "none"));

  const Outcome one = reno_run(arguments(folder, "one"));
  INFO(one.errors);
  REQUIRE(one.status == 0);
  CHECK_THAT(one.output, Contains("sweep.md") && Contains("report.html"));
  CHECK_THAT(read_file(folder.path() / "one" / "sweep.csv"), Contains("without pickscore,cells/00002,done,"));
  CHECK_THAT(read_file(folder.path() / "one" / "report.html"), Contains("\"kind\":\"sweep\""));

  const Outcome two = reno_run(arguments(folder, "two", {"--jobs", "2"}));
  INFO(two.errors);
  REQUIRE(two.status == 0);
  for (const char* name : {"sweep.csv", "sweep.md", "cells/00001/results.jsonl"})
    CHECK(read_file(folder.path() / "two" / name) == read_file(folder.path() / "one" / name));
  const Outcome status = reno_run({"--status", (folder.path() / "two").string()});
  CHECK_THAT(status.output, Contains("shard 1/2  ended") && Contains("100 %, "));

  const Outcome again = reno_run(arguments(folder, "one"));
  CHECK(again.status == 2);
  CHECK_THAT(again.errors, Contains("already holds a run: continue it with --resume"));
}

TEST_CASE("a cell that fails does not stop the others, and the sweep ends with status 4", "[cli][sweep]") {
  const TemporaryFolder folder;
  std::ofstream(folder.path() / "grid.toml")
      << "[run]\niterations = 2\n[generator]\nplugin = \"sd-turbo\"\nweights = \"" << shapes
      << "/generator\"\n[[reward]]\nplugin = \"clip-score\"\nweights = \"none\"\n"
      << "[sweep]\nkind = \"grid\"\n[sweep.grid]\n\"reward.0.weights\" = [\"nowhere\", \"" << shapes
      << "/rewards/clip\"]\n";
  const Outcome outcome =
      reno_run({(folder.path() / "grid.toml").string(), "--output", (folder.path() / "out").string()});
  CHECK(outcome.status == 4);
  CHECK_THAT(outcome.errors, Contains("1 of 2 cells failed") && Contains("reward.0.weights = \"nowhere\""));
  CHECK_THAT(read_file(folder.path() / "out" / "cells" / "00000" / "error.txt"), Contains("nowhere"));
  CHECK_THAT(read_file(folder.path() / "out" / "sweep.csv"), Contains(",failed,") && Contains(",done,"));
}

TEST_CASE("local processes stop together and go on together", "[cli][sweep]") {
  const TemporaryFolder folder;
  const auto output = folder.path() / "out";
  Program program(arguments(folder, "out", {"--jobs", "2", "--set", "run.iterations=20"}));
  const auto metrics = output / "cells" / "00000" / ".shards" / "2" / "00000" / "metrics.jsonl";
  for (int i = 0; i < 600 && (!fs::exists(metrics) || fs::file_size(metrics) == 0); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  program.signal(SIGTERM);
  const Outcome stopped = program.wait();
  CHECK(stopped.status == 130);
  CHECK_THAT(stopped.errors, Contains("--resume continues it"));
  CHECK_FALSE(fs::exists(output / "sweep.csv"));
  const Outcome resumed = reno_run({output.string(), "--resume", "--jobs", "2"});
  INFO(resumed.errors);
  CHECK(resumed.status == 0);
  CHECK(fs::exists(output / "sweep.csv"));
}

TEST_CASE("local processes end with the one that started them; a killed sweep goes on to the same table",
          "[cli][sweep]") {
  const TemporaryFolder folder;
  REQUIRE(reno_run(arguments(folder, "straight", {"--quiet"})).status == 0);
  const auto output = folder.path() / "killed";
  Program program(arguments(folder, "killed", {"--jobs", "2"}));
  for (int i = 0; i < 600 && !fs::exists(output / "cells" / "00000"); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  program.signal(SIGKILL);
  program.wait();
  Outcome resumed;
  for (int i = 0; i < 100; ++i) {  // they may need a moment to finish their iteration
    resumed = reno_run({output.string(), "--resume", "--jobs", "2"});
    if (resumed.errors.find("is in use by another run") == std::string::npos) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
  INFO(resumed.errors);
  CHECK(resumed.status == 0);
  for (const char* name : {"sweep.csv", "cells/00002/results.jsonl"})
    CHECK(read_file(output / name) == read_file(folder.path() / "straight" / name));
}

/// Runs reno-run where `sbatch` is this shell command.
Outcome with_sbatch(const TemporaryFolder& folder, const std::string& command,
                    const std::vector<std::string>& words) {
  const auto bin = folder.path() / "bin";
  fs::create_directories(bin);
  std::ofstream(bin / "sbatch") << "#!/bin/sh\n" << command << "\n";
  fs::permissions(bin / "sbatch", fs::perms::owner_all);
  const std::string path = std::getenv("PATH");
  ::setenv("PATH", (bin.string() + ":" + path).c_str(), 1);
  const Outcome outcome = reno_run(words);
  ::setenv("PATH", path.c_str(), 1);
  return outcome;
}

TEST_CASE("without Slurm, its launcher says so", "[cli]") {
  const TemporaryFolder folder;
  const Outcome outcome = with_sbatch(folder, "echo 'no partition of that name' >&2; exit 1",
                                      arguments(folder, "out", {"--launcher", "slurm"}));
  CHECK(outcome.status == 4);
  CHECK_THAT(outcome.errors, Contains("sbatch has not taken ") && Contains("no partition of that name"));
  const std::string script = read_file(folder.path() / "out" / "slurm" / "job.sh");
  CHECK_THAT(script, Contains("#SBATCH --array=\"0-7\"") && Contains("#SBATCH --signal=\"B:USR1@120\"") &&
                         Contains("'--resume' '--quiet' '--shard' \"$SLURM_ARRAY_TASK_ID/8\" &"));
  CHECK_THAT(script, Contains("#SBATCH --gpus-per-task=\"1\"") && Contains("#SBATCH --time=\"1:00:00\""));
  CHECK_THAT(script, !Contains("--partition") && !Contains("--account") && !Contains("--mem"));
}

TEST_CASE("an array job asks for what [launcher] says", "[cli]") {
  const TemporaryFolder folder;
  auto words = arguments(folder, "out", {"--launcher", "slurm"});
  for (const char* one :
       {"shards=3", "partition=\"long\"", "account=\"art\"", "time=\"2-00:00\"", "gpus=4", "cpus=9",
        "memory=\"64G\"", "grace_seconds=300", "options=[\"--qos=high\"]", "setup=[\"module load cuda\"]"})
    words.insert(words.end(), {"--set", std::string("launcher.") + one});
  const Outcome outcome = with_sbatch(folder, "echo '4711;cluster'", words);
  INFO(outcome.errors);
  REQUIRE(outcome.status == 0);
  CHECK_THAT(outcome.output, Contains("job 4711: 3 tasks"));
  const std::string script = read_file(folder.path() / "out" / "slurm" / "job.sh");
  for (const char* line :
       {"#SBATCH --array=\"0-2\"\n", "#SBATCH --partition=\"long\"\n", "#SBATCH --account=\"art\"\n",
        "#SBATCH --time=\"2-00:00\"\n", "#SBATCH --ntasks=1\n", "#SBATCH --gpus-per-task=\"4\"\n",
        "#SBATCH --cpus-per-task=\"9\"\n", "#SBATCH --mem=\"64G\"\n", "#SBATCH --signal=\"B:USR1@300\"\n",
        "#SBATCH --requeue\n", "#SBATCH --qos=high\n", "\nexport OMP_NUM_THREADS=9\n",
        "\nmodule load cuda\n"}) {
    CHECK_THAT(script, Contains(line));
  }
}

TEST_CASE("a job that would be signalled as soon as it begins is not submitted", "[cli]") {
  const TemporaryFolder folder;
  const Outcome outcome = reno_run(arguments(
      folder, "out",
      {"--launcher", "slurm", "--set", "launcher.time=\"1:30\"", "--set", "launcher.grace_seconds=90"}));
  CHECK(outcome.status == 2);
  CHECK_THAT(outcome.errors, Contains("launcher.grace_seconds = 90 leaves no time to work within "
                                      "launcher.time = \"1:30\"; it must be shorter"));
  CHECK_FALSE(fs::exists(folder.path() / "out"));
}

TEST_CASE("no line gets into a job's script that nobody wrote there", "[cli]") {
  const TemporaryFolder folder;
  const Outcome outcome = reno_run(arguments(folder, "out\necho surprise", {"--launcher", "slurm"}));
  CHECK(outcome.status == 2);
  CHECK_THAT(outcome.errors, Contains("sbatch's --job-name cannot hold quotes or control characters"));
}

}  // namespace
