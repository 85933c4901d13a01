// Two processes must not write one run directory. The lock is the kernel's (`flock`), so it is gone with the
// process, however that ended; host and process number stand in the file for the message.
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <utility>

#include "reno/error.hpp"

namespace reno {

/// Holds `directory/.lock` as long as it lives.
class DirectoryLock {
 public:
  /// Shards of one run share its directory; nobody else may have it with them.
  enum Kind { exclusive = LOCK_EX, shared = LOCK_SH };

  /// Throws ConfigurationError when a live process holds it, RunError when the file cannot be made.
  explicit DirectoryLock(const std::filesystem::path& directory, Kind kind = exclusive) {
    const auto file = directory / ".lock";
    descriptor_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (descriptor_ < 0) throw RunError(fmt::format("{}: cannot be created: {}", file.string(), reason()));
    if (::flock(descriptor_, static_cast<int>(kind) | LOCK_NB) != 0) {
      const std::string owner = contents();
      ::close(descriptor_);
      throw ConfigurationError(
          fmt::format("{} is in use by another run ({}): wait for it, or choose another run.output",
                      directory.string(), owner.empty() ? "unknown process" : owner));
    }
    write_owner();
  }

  /// Nothing when another process holds it.
  static std::unique_ptr<DirectoryLock> try_lock(const std::filesystem::path& directory) {
    try {
      return std::make_unique<DirectoryLock>(directory);
    } catch (const ConfigurationError&) {
      return nullptr;
    }
  }

  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;
  ~DirectoryLock() { ::close(descriptor_); }

 private:
  static std::string reason() { return std::generic_category().message(errno); }

  std::string contents() const {
    std::array<char, 256> buffer{};
    const auto size = ::pread(descriptor_, buffer.data(), buffer.size(), 0);
    return size > 0 ? std::string(buffer.data(), static_cast<std::size_t>(size)) : "";
  }

  void write_owner() const {
    std::array<char, 128> host{};
    ::gethostname(host.data(), host.size() - 1);
    const std::string owner = fmt::format("process {} on {}", ::getpid(), host.data());
    if (::ftruncate(descriptor_, 0) != 0 || ::pwrite(descriptor_, owner.data(), owner.size(), 0) < 0) {
      throw RunError(fmt::format("the lock file cannot be written: {}", reason()));
    }
  }

  int descriptor_ = -1;
};

}  // namespace reno
