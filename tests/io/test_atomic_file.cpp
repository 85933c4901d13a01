#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <csignal>

#include "reno/io/atomic_file.hpp"
#include "support/temporary_folder.hpp"

using reno::AtomicFile;
using reno::RunError;
using reno::write_file_atomically;
using reno::test::message_of;
using reno::test::read_file;

namespace {

auto entries(const std::filesystem::path& folder) {
  return std::distance(std::filesystem::directory_iterator(folder), std::filesystem::directory_iterator());
}

/// Files of this process cannot grow beyond `bytes` while it lives: what a full disk is like.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(::rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const ::rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  ::rlimit before_{};
  void (*handler_)(int);
};

}  // namespace

TEST_CASE("An atomic file appears whole, replaces what was there and leaves nothing beside it") {
  const reno::test::TemporaryFolder folder;
  const auto path = folder / "a.txt";
  write_file_atomically(path, "first");
  write_file_atomically(path, "second");
  CHECK(read_file(path) == "second");
  CHECK(entries(folder.path()) == 1);
  write_file_atomically(path, "");
  CHECK(read_file(path).empty());
}

TEST_CASE("Before commit nothing is visible, without commit nothing stays") {
  const reno::test::TemporaryFolder folder;
  const auto path = folder.write("a.txt", "old");
  {
    AtomicFile file(path);
    file.write("ne");
    file.write("w");
    CHECK(read_file(path) == "old");
    CHECK(entries(folder.path()) == 2);
  }
  CHECK(read_file(path) == "old");
  CHECK(entries(folder.path()) == 1);
}

TEST_CASE("Two writers of one name do not mix") {
  const reno::test::TemporaryFolder folder;
  AtomicFile first(folder / "a");
  AtomicFile second(folder / "a");
  first.write("first");
  second.write("second");
  second.commit();
  CHECK(read_file(folder / "a") == "second");
  first.commit();
  CHECK(read_file(folder / "a") == "first");
  CHECK(entries(folder.path()) == 1);
}

TEST_CASE("A file gets the permissions that the user's umask allows") {
  const reno::test::TemporaryFolder folder;
  const auto before = ::umask(027);
  write_file_atomically(folder / "a", "x");
  ::umask(before);
  struct stat status {};
  REQUIRE(::stat((folder / "a").c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0640);
}

TEST_CASE("A name without a directory is written where the program works") {
  const reno::test::TemporaryFolder folder;
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  write_file_atomically("plain", "x");
  std::filesystem::current_path(before);
  CHECK(read_file(folder / "plain") == "x");
}

TEST_CASE("A write that fails says why and leaves the old file") {
  const reno::test::TemporaryFolder folder;
  const auto path = folder.write("a", "old").string();
  std::string message;
  {
    const FileSizeLimit limit(4096);
    message = message_of<RunError>([&] { write_file_atomically(path, std::string(10'000, 'x')); });
  }
  CHECK(message == path + ": cannot be written: File too large");
  CHECK(read_file(path) == "old");
  CHECK(entries(folder.path()) == 1);

  const auto missing = (folder / "no" / "a").string();
  CHECK(message_of<RunError>([&] { write_file_atomically(missing, "x"); }) ==
        missing + ": cannot be created: No such file or directory");
  std::filesystem::create_directory(folder / "d");
  CHECK(message_of<RunError>([&] { write_file_atomically(folder / "d", "x"); }) ==
        (folder / "d").string() + ": cannot be put in place: Is a directory");
  CHECK(entries(folder.path()) == 2);
}
