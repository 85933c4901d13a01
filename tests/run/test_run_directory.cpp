#include <sys/wait.h>

#include <catch2/catch.hpp>
#include <fstream>

#include "reno/run/run_directory.hpp"
#include "support/temporary_folder.hpp"

namespace {

using namespace reno;
using namespace reno::test;
namespace fs = std::filesystem;

void touch(const fs::path& file) {
  fs::create_directories(file.parent_path());
  std::ofstream(file) << "x";
}

TEST_CASE("folders of files are made when needed", "[run-directory]") {
  const TemporaryFolder folder;
  const RunDirectory run(folder.path() / "a" / "b", Existing::refuse);
  CHECK(run.file("metrics.jsonl") == folder.path() / "a" / "b" / "metrics.jsonl");
  CHECK(run.file("00012/images/00003.png") == folder.path() / "a" / "b" / "00012" / "images" / "00003.png");
  CHECK(fs::is_directory(folder.path() / "a" / "b" / "00012" / "images"));
}

TEST_CASE("a folder that holds a run is replaced only when asked, and only what a run wrote",
          "[run-directory]") {
  const TemporaryFolder folder;
  const auto written = {"experiment.toml",
                        "metrics.jsonl",
                        "init_image.png",
                        "00000/best_image.png",
                        "00000/images/00001.png",
                        "00002/metadata.jsonl",
                        "00002/samples/00000.png",
                        "00002/noise/00000.safetensors",
                        "3/00001/best_noise.safetensors",
                        "samples/a cat_000000.png",
                        "images/000000/00001.png"};
  const auto own = {"notes.txt", "00001/mine.txt", "mine.png", "samples/mine.txt", "pictures/a.png"};
  for (const char* name : written) touch(folder.path() / name);
  for (const char* name : own) touch(folder.path() / name);
  CHECK_THROWS_WITH(RunDirectory(folder.path(), Existing::refuse),
                    Catch::Contains("already holds a run") && Catch::Contains("--overwrite"));
  CHECK(fs::exists(folder.path() / "metrics.jsonl"));
  const RunDirectory replaced(folder.path(), Existing::overwrite);
  for (const char* name : written) CHECK_FALSE(fs::exists(folder.path() / name));
  for (const char* name : {"00000", "00002", "3", "images"}) CHECK_FALSE(fs::exists(folder.path() / name));
  for (const char* name : own) CHECK(fs::exists(folder.path() / name));
}

TEST_CASE("a folder in use by a live process is refused with host and process", "[run-directory]") {
  const TemporaryFolder folder;
  const RunDirectory mine(folder.path(), Existing::refuse);
  const pid_t child = fork();
  if (child == 0) {
    try {
      const RunDirectory theirs(folder.path(), Existing::refuse);
      _exit(1);
    } catch (const ConfigurationError& error) {
      const std::string text = error.what();
      const bool says_who = text.find("in use by another run (process " + std::to_string(getppid()) +
                                      " on ") != std::string::npos;
      _exit(says_who ? 0 : 2);
    }
  }
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("the lock of a process that is gone does not count", "[run-directory]") {
  const TemporaryFolder folder;
  const pid_t child = fork();
  if (child == 0) {
    auto* lock = new DirectoryLock(folder.path());
    static_cast<void>(lock);
    _exit(0);
  }
  waitpid(child, nullptr, 0);
  CHECK(fs::exists(folder.path() / ".lock"));
  CHECK_NOTHROW(DirectoryLock(folder.path()));
}

TEST_CASE("a folder that cannot be made says why", "[run-directory]") {
  const TemporaryFolder folder;
  touch(folder.path() / "file");
  CHECK_THROWS_AS(RunDirectory(folder.path() / "file" / "below", Existing::refuse), ConfigurationError);
  CHECK_THROWS_WITH(RunDirectory("/proc/reno", Existing::refuse),
                    Catch::Contains("/proc/reno: cannot be written to: "));
}

}  // namespace
