// Real processes, stopped in every way that there is.
#include <sys/mount.h>
#include <sys/statvfs.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <csignal>
#include <iostream>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "support/program.hpp"

namespace {

using namespace reno::test;
using Catch::Contains;
namespace fs = std::filesystem;

const std::string quickstart = std::string(RENO_SOURCE_DIR) + "/configs/quickstart.toml";

std::vector<std::string> arguments(const fs::path& output, bool resume = false) {
  std::vector<std::string> all = {quickstart, "--output", output.string()};
  // On a GPU sums need not repeat to the last bit.
  for (const char* setting :
       {"run.device=cpu", "run.iterations=12", "run.batch=2", "run.checkpoint_seconds=0.05"})
    all.insert(all.end(), {"--set", setting});
  if (resume) all.emplace_back("--resume");
  return all;
}

/// The run that nothing disturbs, made once.
const fs::path& undisturbed() {
  static const TemporaryFolder folder;
  static const Outcome outcome = reno_run(arguments(folder.path() / "out"));
  static const fs::path output = folder.path() / "out";
  REQUIRE(outcome.status == 0);
  return output;
}

std::string metrics_of(const fs::path& output) {
  std::ifstream stream(output / "metrics.jsonl");
  std::string text;
  for (std::string line; std::getline(stream, line);) {
    auto object = nlohmann::json::parse(line);
    object.erase("seconds");
    text += object.dump() + "\n";
  }
  return text;
}

void check_same(const fs::path& output) {
  const fs::path& expected = undisturbed();
  CHECK(read_file(output / "results.jsonl") == read_file(expected / "results.jsonl"));
  CHECK(metrics_of(output) == metrics_of(expected));
  for (int i = 0; i < 6; ++i) {
    for (const char* name : {"best_noise.safetensors", "prompt.txt"}) {
      const auto file = fs::path("0000" + std::to_string(i)) / name;
      INFO(file.string());
      CHECK(read_file(output / file) == read_file(expected / file));
    }
  }
}

TEST_CASE("killed at random points, a run resumes to the same noise, bit for bit", "[cli][resume]") {
  undisturbed();
  std::mt19937 random(std::random_device{}());
  const TemporaryFolder folder;
  const auto output = folder.path() / "out";
  int kills = 0;
  Outcome last;
  for (bool done = false; !done;) {
    Program program(arguments(output, /*resume=*/true));
    // After eight kills the run may finish.
    const auto milliseconds = std::uniform_int_distribution<>(200, 1200)(random);
    if (kills < 8) std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    if (kills < 8) program.signal(SIGKILL);
    last = program.wait();
    done = last.status == 0;
    kills += done ? 0 : 1;
    if (!done) REQUIRE(kills <= 8);
  }
  INFO(last.errors);
  CHECK(kills > 0);
  check_same(output);
  CHECK(fs::exists(output / ".lock"));  // of processes that are gone: no lock at all
}

TEST_CASE("SIGTERM and SIGUSR1 end with status 130; the directory alone continues", "[cli][resume]") {
  const int number = GENERATE(SIGTERM, SIGUSR1);
  const TemporaryFolder folder;
  const auto output = folder.path() / "out";
  Program program(arguments(output));
  for (int i = 0; i < 600 && !fs::exists(output / "00000" / "init_image.png"); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const Outcome second = reno_run(arguments(output, true));
  CHECK(second.status == 2);
  CHECK_THAT(second.errors, Contains("is in use by another run (process "));
  program.signal(number);
  const Outcome stopped = program.wait();
  if (stopped.status == 130) {  // a fast machine may have been done before
    CHECK_THAT(stopped.errors, Contains("--resume continues it"));
  } else {
    CHECK(stopped.status == 0);
  }
  const Outcome resumed = reno_run({output.string(), "--resume"});
  INFO(resumed.errors);
  CHECK(resumed.status == 0);
  check_same(output);
}

/// A file system of so many bytes, mounted as long as it lives.
class SmallDisk {
 public:
  explicit SmallDisk(std::int64_t bytes) {
    mounted_ = ::mount("tmpfs", path().c_str(), "tmpfs", 0, ("size=" + std::to_string(bytes)).c_str()) == 0;
  }
  ~SmallDisk() {
    if (mounted_) ::umount2(path().c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  bool mounted() const { return mounted_; }
  const fs::path& path() const { return folder_.path(); }
  bool resize(std::int64_t bytes) const {
    return ::mount("tmpfs", path().c_str(), "tmpfs", MS_REMOUNT, ("size=" + std::to_string(bytes)).c_str()) ==
           0;
  }

 private:
  TemporaryFolder folder_;
  bool mounted_ = false;
};

TEST_CASE("a full disk at any write is an error that loses nothing; with space, the run goes on",
          "[cli][resume]") {
  undisturbed();
  // From too small for the lock file to nearly enough, so that each kind of write is the one that fails.
  std::int64_t used = 0;
  for (const auto& item : fs::recursive_directory_iterator(undisturbed())) {
    if (item.is_regular_file())
      used += static_cast<std::int64_t>((item.file_size() + 4095) / 4096 + 1) * 4096;
  }
  int full = 0;
  for (const int part : {1, 3, 5, 7}) {
    const std::int64_t size = used * part / 8;
    const SmallDisk disk(size);
    if (!disk.mounted()) {
      std::cout << "SKIPPED: a file system cannot be mounted here, so none can be full\n";
      return;
    }
    INFO("disk of " << size << " of " << used << " bytes");
    const auto output = disk.path() / "out";
    const Outcome outcome = reno_run(arguments(output));
    INFO(outcome.errors);
    if (outcome.status != 0) {
      ++full;
      CHECK(outcome.status == 4);
      CHECK_THAT(outcome.errors, Contains("No space left on device"));
    }
    const std::string before =
        fs::exists(output / "results.jsonl") ? read_file(output / "results.jsonl") : "";
    REQUIRE(disk.resize(4 * used));
    const Outcome resumed = reno_run(arguments(output, true));
    INFO(resumed.errors);
    REQUIRE(resumed.status == 0);
    check_same(output);
    for (std::istringstream lines(before); !lines.eof();) {  // no line is torn
      std::string line;
      std::getline(lines, line);
      if (!line.empty()) CHECK(nlohmann::json::accept(line));
    }
  }
  CHECK(full > 2);
}

}  // namespace
