// A file that grows as a run goes on. Each append reaches the system before it returns, so whatever ends the
// process, what was appended is there.
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "reno/error.hpp"

namespace reno {

/// All failures (a full disk, for example) are RunErrors with the system's reason.
class AppendFile {
 public:
  /// Opens the file, or creates it.
  explicit AppendFile(std::filesystem::path file) : file_(std::move(file)) {
    descriptor_ = ::open(file_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (descriptor_ < 0) fail("cannot be created");
  }
  AppendFile(AppendFile&& other) noexcept
      : file_(std::move(other.file_)), descriptor_(std::exchange(other.descriptor_, -1)) {}
  AppendFile& operator=(AppendFile&&) = delete;
  ~AppendFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }

  const std::filesystem::path& path() const { return file_; }

  /// What cannot be written whole (the disk is full) is not there at all.
  void append(std::string_view bytes) {
    const std::uint64_t before = size();
    while (!bytes.empty()) {
      const auto written = ::write(descriptor_, bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) {
        const int error = errno;
        static_cast<void>(::ftruncate(descriptor_, static_cast<::off_t>(before)) == 0);
        errno = error;
        fail("cannot be written");
      }
      bytes.remove_prefix(static_cast<std::size_t>(written));
    }
  }

  std::uint64_t size() const {
    struct ::stat status {};
    if (::fstat(descriptor_, &status) != 0) fail("cannot be examined");
    return static_cast<std::uint64_t>(status.st_size);
  }

  /// Drops what is behind the first `bytes`. Throws RunError when there are fewer.
  void truncate(std::uint64_t bytes) const {
    if (size() < bytes) {
      throw RunError(fmt::format("{}: has {} bytes, where {} were written", file_.string(), size(), bytes));
    }
    if (::ftruncate(descriptor_, static_cast<::off_t>(bytes)) != 0) fail("cannot be shortened");
  }

  /// Makes everything so far durable.
  void sync() const {
    if (::fsync(descriptor_) != 0) fail("cannot be flushed to the disk");
  }

 private:
  [[noreturn]] void fail(const char* what) const {
    const int error = errno;
    throw RunError(file_.string() + ": " + what + ": " + std::generic_category().message(error));
  }

  std::filesystem::path file_;
  int descriptor_ = -1;
};

}  // namespace reno
