// A file of one JSON object per line, appended to as a run goes on: `metrics.jsonl`, `results.jsonl`.
#pragma once

#include <nlohmann/json.hpp>

#include "reno/io/append_file.hpp"

namespace reno {

/// Each `append` is one write to the file, so a line is there as soon as it happened; `sync` makes all of
/// them durable.
class JsonLines {
 public:
  explicit JsonLines(std::filesystem::path file) : file_(std::move(file)) {}

  /// Text that is not UTF-8 is written with replacement characters. Throws RunError (a full disk, for
  /// example).
  void append(const nlohmann::ordered_json& object) {
    file_.append(object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
  }

  void sync() { file_.sync(); }

 private:
  AppendFile file_;
};

}  // namespace reno
