// Files that appear whole or not at all. Results, checkpoints and weights are written to a temporary
// neighbour, flushed to the disk and renamed into place, so that neither a crash nor a full disk leaves half
// a file under the final name, and a reader sees old or new.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "reno/error.hpp"

namespace reno {

/// A file under construction: `write` as often as needed, then `commit`. Without commit the destructor leaves
/// no trace. An existing file of that name is replaced (a symbolic link itself, not its target). All failures
/// are RunErrors with the system's reason.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path) : path_(std::move(path)) {
    static std::atomic<unsigned> counter{0};
    do {
      temporary_ = path_;
      temporary_.replace_filename("." + path_.filename().string() + "." + std::to_string(::getpid()) + "." +
                                  std::to_string(counter++) + ".tmp");
      descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    } while (descriptor_ < 0 && errno == EEXIST);
    if (descriptor_ < 0) fail("cannot be created");
  }

  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
    if (!committed_) ::unlink(temporary_.c_str());
  }

  void write(std::string_view bytes) {
    while (!bytes.empty()) {
      const ::ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) fail("cannot be written");
      bytes.remove_prefix(static_cast<std::size_t>(written));
    }
  }

  /// Makes the file durable and visible under its name.
  void commit() {
    if (::fsync(descriptor_) != 0) fail("cannot be flushed to the disk");
    if (::close(std::exchange(descriptor_, -1)) != 0) fail("cannot be closed");
    if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail("cannot be put in place");
    committed_ = true;
    sync_directory();
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    const int error = errno;
    throw RunError(path_.string() + ": " + what + ": " + std::generic_category().message(error));
  }

  /// The name itself is durable only when its directory is.
  void sync_directory() const {
    const auto parent = path_.has_parent_path() ? path_.parent_path() : std::filesystem::path(".");
    const int directory = ::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) {
      if (errno == EACCES) return;  // writable but not listable: the rename has happened, no more can be done
      fail("has a directory that cannot be opened");
    }
    const bool failed =
        ::fsync(directory) != 0 && errno != EINVAL;  // EINVAL: the file system has no such operation
    const int error = errno;
    ::close(directory);
    errno = error;
    if (failed) fail("has a directory that cannot be flushed to the disk");
  }

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  int descriptor_ = -1;
  bool committed_ = false;
};

/// Writes `bytes` to `path` atomically and durably. Throws RunError.
inline void write_file_atomically(const std::filesystem::path& path, std::string_view bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

}  // namespace reno
