// Reads what a run appends, line by line. A run that goes on, or was killed, may have left half a line at the
// end of a file: it is not part of it yet.
#pragma once

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "reno/error.hpp"

namespace reno::report {

/// Calls `visit` with each object of the file, in order; a file that is not there has none. Throws LoadError
/// with file and line for what is no JSON, or not what `visit` expects.
template <class Visit>
void for_each_line(const std::filesystem::path& file, const Visit& visit) {
  if (!std::filesystem::exists(file)) return;
  std::ifstream stream(file, std::ios::binary);
  if (!stream) throw LoadError(fmt::format("{}: cannot be read", file.string()));
  std::int64_t number = 1;
  for (std::string line; std::getline(stream, line); ++number) {
    if (stream.eof()) return;  // no newline at its end
    try {
      visit(nlohmann::json::parse(line));
    } catch (const nlohmann::json::exception& error) {
      throw LoadError(
          fmt::format("{}:{}: is damaged, or of another version ({})", file.string(), number, error.what()));
    }
  }
}

}  // namespace reno::report
