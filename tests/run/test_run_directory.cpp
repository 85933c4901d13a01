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

TEST_CASE("one prompt's files stand in the folder, several have folders of their own", "[run-directory]") {
  const TemporaryFolder folder;
  const RunDirectory single(folder.path() / "a" / "b", true, false);
  CHECK(single.prompt_folder(0) == folder.path() / "a" / "b");
  const RunDirectory list(folder.path() / "list", false, false);
  CHECK(list.prompt_folder(12) == folder.path() / "list" / "00012");
  CHECK(list.iteration_image(12, 3) == folder.path() / "list" / "00012" / "images" / "00003.png");
}

TEST_CASE("a folder that holds a run is replaced only when asked, and only what a run wrote",
          "[run-directory]") {
  const TemporaryFolder folder;
  for (const char* name : {"experiment.toml", "metrics.jsonl", "init_image.png", "00000/best_image.png",
                           "notes.txt", "00001/mine.txt"}) {
    touch(folder.path() / name);
  }
  CHECK_THROWS_WITH(RunDirectory(folder.path(), true, false),
                    Catch::Contains("already holds a run") && Catch::Contains("--overwrite"));
  CHECK(fs::exists(folder.path() / "metrics.jsonl"));
  const RunDirectory replaced(folder.path(), true, true);
  for (const char* name : {"experiment.toml", "metrics.jsonl", "init_image.png", "00000"})
    CHECK_FALSE(fs::exists(folder.path() / name));
  for (const char* name : {"notes.txt", "00001/mine.txt"}) CHECK(fs::exists(folder.path() / name));
}

TEST_CASE("a folder in use by a live process is refused with host and process", "[run-directory]") {
  const TemporaryFolder folder;
  const RunDirectory mine(folder.path(), true, false);
  const pid_t child = fork();
  if (child == 0) {
    try {
      const RunDirectory theirs(folder.path(), true, false);
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
  CHECK_THROWS_AS(RunDirectory(folder.path() / "file" / "below", true, false), ConfigurationError);
  CHECK_THROWS_WITH(RunDirectory("/proc/reno", true, false),
                    Catch::Contains("/proc/reno: cannot be written to: "));
}

}  // namespace
