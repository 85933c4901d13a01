// The report of a directory: one HTML file that needs no network. A short C++ side reads the directory and
// puts everything into the page as one JSON object; the page's own script draws it.
#pragma once

#include <fmt/format.h>

#include <filesystem>
#include <string>
#include <string_view>

#include "reno/io/atomic_file.hpp"
#include "reno/report/sweep_page.hpp"
#include "reno/version.hpp"

namespace reno::report {

namespace detail {

/// JSON inside of an HTML element must not end it.
inline std::string embedded(const nlohmann::ordered_json& data) {
  std::string text;
  for (const char c : data.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace)) {
    if (c == '<') {
      text += "\\u003c";
    } else {
      text += c;
    }
  }
  return text;
}

/// Puts the data into the page, which has an element for it.
inline std::string filled(std::string_view page, const nlohmann::ordered_json& data) {
  constexpr std::string_view element = R"(<script type="application/json" id="data">)";
  const auto at = page.find(element) + element.size();
  return fmt::format("{}{}{}", page.substr(0, at), embedded(data), page.substr(at));
}

}  // namespace detail

/// Reads `directory`, which a run or a sweep wrote, and writes its page to `file`. `page`: the HTML without
/// data, compiled into the programs that write reports (tools/reno_report/page). Throws ConfigurationError
/// for a directory that holds no run, LoadError for a damaged one, RunError when the page cannot be written.
inline void write_report(const std::filesystem::path& directory, const std::filesystem::path& file,
                         std::string_view page, const Limits& limits = {}) {
  if (!std::filesystem::exists(directory / "experiment.toml")) {
    throw ConfigurationError(
        fmt::format("{}: {}", directory.string(),
                    std::filesystem::is_directory(directory)
                        ? "holds neither a run nor a sweep (there is no experiment.toml in it)"
                        : "there is no such directory"));
  }
  const auto folder = file.has_parent_path() ? file.parent_path() : std::filesystem::path(".");
  auto data = std::filesystem::exists(directory / "sweep.csv")
                  ? sweep_page(read_sweep(directory), folder, limits)
                  : run_page(read_run(directory, limits), folder, limits);
  data["version"] = version;
  write_file_atomically(file, detail::filled(page, data));
}

}  // namespace reno::report
