// A file as read-only memory. Weights are gigabytes; mapping them costs nothing until a page is touched, the
// pages are shared between processes, and the kernel may drop them again without writing. A tensor that views
// the map holds a shared_ptr to it.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "reno/error.hpp"

namespace reno {

/// Read-only map of a whole regular file. The file must not be truncated by others while it is mapped: the
/// kernel would end the process.
class MappedFile {
 public:
  /// Throws LoadError when the file is missing, not a regular file, unreadable or empty.
  explicit MappedFile(std::filesystem::path path) : path_(std::move(path)) {
    // O_NONBLOCK: opening a FIFO must not wait for its writer; regular files ignore it.
    const int descriptor = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0) throw LoadError(path_.string() + ": cannot be opened: " + reason(errno));
    try {
      map(descriptor);
    } catch (...) {
      ::close(descriptor);
      throw;
    }
    ::close(descriptor);
  }

  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile() { ::munmap(address_, size_); }

  const std::byte* data() const { return static_cast<const std::byte*>(address_); }
  std::size_t size() const { return size_; }
  const std::filesystem::path& path() const { return path_; }
  std::string_view text() const { return {static_cast<const char*>(address_), size_}; }

  /// Tells the kernel that these bytes are wanted soon, so that it reads ahead in large pieces. Only a hint.
  void prefetch(std::size_t offset, std::size_t bytes) const {
    if (offset >= size_ || bytes == 0) return;
    const std::size_t begin = offset / page() * page();
    const std::size_t end = offset + std::min(bytes, size_ - offset);
    ::madvise(static_cast<std::byte*>(address_) + begin, end - begin, MADV_WILLNEED);
  }

  /// Gives back the memory of the whole pages in this range, which are read again when they are touched:
  /// weights that were converted or moved to another device would otherwise stay in memory twice.
  void release(std::size_t offset, std::size_t bytes) const {
    if (offset >= size_) return;
    const std::size_t begin = (offset + page() - 1) / page() * page();
    const std::size_t end = (offset + std::min(bytes, size_ - offset)) / page() * page();
    if (begin < end) ::madvise(static_cast<std::byte*>(address_) + begin, end - begin, MADV_DONTNEED);
  }

 private:
  static std::size_t page() {
    static const auto size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    return size;
  }

  static std::string reason(int error) { return std::generic_category().message(error); }

  void map(int descriptor) {
    struct stat status {};
    if (::fstat(descriptor, &status) != 0)
      throw LoadError(path_.string() + ": cannot be examined: " + reason(errno));
    if (S_ISDIR(status.st_mode)) throw LoadError(path_.string() + ": is a directory, expected a file");
    if (!S_ISREG(status.st_mode)) throw LoadError(path_.string() + ": is not a regular file");
    if (status.st_size == 0) throw LoadError(path_.string() + ": is empty");
    size_ = static_cast<std::size_t>(status.st_size);
    address_ = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (address_ == MAP_FAILED) throw LoadError(path_.string() + ": cannot be mapped: " + reason(errno));
  }

  std::filesystem::path path_;
  void* address_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace reno
