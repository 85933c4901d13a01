// A file that grows as a run goes on. Each append reaches the system before it returns, so whatever ends the
// process, what was appended is there.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
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

  void append(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto written = ::write(descriptor_, bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) fail("cannot be written");
      bytes.remove_prefix(static_cast<std::size_t>(written));
    }
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
