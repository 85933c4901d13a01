// A file of one JSON object per line, appended to as a run goes on and read back line by line:
// `metrics.jsonl`, `results.jsonl`.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

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
  std::uint64_t size() const { return file_.size(); }
  /// Drops what is behind the first `bytes`: lines that come again, perhaps half a line.
  void truncate(std::uint64_t bytes) const { file_.truncate(bytes); }

 private:
  AppendFile file_;
};

/// Calls `visit` with each object of the file, in order. Throws LoadError with file and line for what is no
/// JSON, or not what `visit` expects.
template <class Visit>
void for_each_json_line(const std::filesystem::path& file, const Visit& visit) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) throw LoadError(fmt::format("{}: cannot be read", file.string()));
  std::int64_t number = 1;
  for (std::string line; std::getline(stream, line); ++number) {
    try {
      visit(nlohmann::ordered_json::parse(line));
    } catch (const nlohmann::json::exception& error) {
      throw LoadError(
          fmt::format("{}:{}: is damaged, or of another version ({})", file.string(), number, error.what()));
    }
  }
}

}  // namespace reno
