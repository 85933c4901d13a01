// A file of one JSON object per line, appended to as a run goes on: `metrics.jsonl`, `results.jsonl`.
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "reno/error.hpp"

namespace reno {

/// Each `append` is one write to the file, so a line is there as soon as it happened; `sync` makes all of
/// them durable.
class JsonLines {
 public:
  explicit JsonLines(std::filesystem::path file) : file_(std::move(file)) {
    descriptor_ = ::open(file_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (descriptor_ < 0) fail("cannot be created");
  }
  JsonLines(const JsonLines&) = delete;
  JsonLines& operator=(const JsonLines&) = delete;
  ~JsonLines() { ::close(descriptor_); }

  /// Text that is not UTF-8 is written with replacement characters. Throws RunError (a full disk, for
  /// example).
  void append(const nlohmann::ordered_json& object) {
    const std::string line =
        object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
    for (std::string_view rest = line; !rest.empty();) {
      const auto written = ::write(descriptor_, rest.data(), rest.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) fail("cannot be written");
      rest.remove_prefix(static_cast<std::size_t>(written));
    }
  }

  void sync() {
    if (::fsync(descriptor_) != 0) fail("cannot be flushed to the disk");
  }

 private:
  [[noreturn]] void fail(const char* what) const {
    throw RunError(fmt::format("{}: {}: {}", file_.string(), what, std::generic_category().message(errno)));
  }

  std::filesystem::path file_;
  int descriptor_ = -1;
};

}  // namespace reno
