#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <fstream>
#include <string>

#include "reno/io/mapped_file.hpp"
#include "support/temporary_folder.hpp"

using reno::LoadError;
using reno::MappedFile;
using reno::test::message_of;

namespace {

std::string failure(const std::filesystem::path& path) {
  return message_of<LoadError>([&] { MappedFile file(path); });
}

}  // namespace

TEST_CASE("A mapped file shows the file's bytes") {
  const reno::test::TemporaryFolder folder;
  const MappedFile file(folder.write("a.bin", std::string("weights\0!", 9)));
  CHECK(file.size() == 9);
  CHECK(file.text() == std::string_view("weights\0!", 9));
  CHECK(file.path() == folder / "a.bin");
}

TEST_CASE("Prefetching is a hint that any range may be given to") {
  const reno::test::TemporaryFolder folder;
  const MappedFile file(folder.write("a.bin", std::string(10'000, 'x')));
  file.prefetch(0, 10'000);
  file.prefetch(9'999, 50'000);
  file.prefetch(20'000, 1);
  file.prefetch(5, 0);
  CHECK(file.text() == std::string(10'000, 'x'));
}

TEST_CASE("Pages that are given back are read again when they are touched") {
  const auto resident = [] {  // bytes of mapped files in memory
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);)
      if (line.starts_with("RssFile:")) return std::stoll(line.substr(8)) * 1024;
    return 0LL;
  };
  const reno::test::TemporaryFolder folder;
  constexpr std::size_t bytes = 64 << 20;
  const MappedFile file(folder.write("a.bin", std::string(bytes, 'x')));
  const auto touch = [&] {
    return static_cast<std::size_t>(std::count(file.text().begin(), file.text().end(), 'x'));
  };
  REQUIRE(touch() == bytes);
  const auto touched = resident();
  file.release(5000, bytes - 10'000);
  CHECK(resident() < touched - (60LL << 20));
  CHECK(touch() == bytes);
  CHECK(resident() > touched - (4LL << 20));
  file.release(bytes, 1);  // none of these has a whole page
  file.release(0, 10);
  file.release(bytes - 10, 50'000);
  CHECK(touch() == bytes);
}

TEST_CASE("What cannot be mapped is refused with the reason") {
  const reno::test::TemporaryFolder folder;
  const auto path = [&](const char* name) { return (folder / name).string(); };
  CHECK(failure(folder / "missing") == path("missing") + ": cannot be opened: No such file or directory");
  CHECK(failure(folder.path()) == folder.path().string() + ": is a directory, expected a file");
  CHECK(failure(folder.write("empty", "")) == path("empty") + ": is empty");
  REQUIRE(::mkfifo(path("fifo").c_str(), 0600) == 0);
  CHECK(failure(folder / "fifo") == path("fifo") + ": is not a regular file");
  // Root may read everything: become nobody for a moment. To others the directory itself is closed.
  std::filesystem::permissions(folder.write("secret", "x"), std::filesystem::perms::none);
  const auto user = ::geteuid();
  if (user == 0 && ::seteuid(65534) != 0) {
    WARN("skipped: the unreadable file, because root cannot become another user here");
    return;
  }
  const auto message = failure(folder / "secret");
  REQUIRE(::seteuid(user) == 0);
  CHECK(message == path("secret") + ": cannot be opened: Permission denied");
}
