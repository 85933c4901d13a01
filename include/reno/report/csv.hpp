// Tables as comma-separated values (RFC 4180): a line of names, then lines of fields; a field in double
// quotes may hold commas, line ends and doubled quotes.
#pragma once

#include <fmt/format.h>

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "reno/error.hpp"
#include "reno/io/mapped_file.hpp"

namespace reno::report {

/// A row by the names of its columns.
using CsvRow = std::map<std::string, std::string>;

namespace detail {

/// The fields of one record; `text` moves behind it. Throws LoadError for a quote that is not closed.
inline std::vector<std::string> read_record(std::string_view& text, const std::string& file) {
  std::vector<std::string> fields(1);
  bool quoted = false;
  while (!text.empty()) {
    const char c = text.front();
    text.remove_prefix(1);
    if (quoted) {
      if (c != '"') {
        fields.back() += c;
      } else if (text.starts_with('"')) {
        fields.back() += '"';
        text.remove_prefix(1);
      } else {
        quoted = false;
      }
    } else if (c == '"') {
      quoted = true;
    } else if (c == ',') {
      fields.emplace_back();
    } else if (c == '\n') {
      return fields;
    } else if (c != '\r') {
      fields.back() += c;
    }
  }
  if (quoted) throw LoadError(file + ": a quoted field has no end");
  return fields;
}

}  // namespace detail

/// Throws LoadError when a row has another number of fields than there are names.
inline std::vector<CsvRow> read_csv(const std::filesystem::path& path) {
  const MappedFile file(path);
  std::string_view text = file.text();
  const auto names = detail::read_record(text, path.string());
  std::vector<CsvRow> rows;
  while (!text.empty()) {
    auto fields = detail::read_record(text, path.string());
    if (fields.size() != names.size()) {
      throw LoadError(fmt::format("{}: row {} has {} fields, expected {}", path.string(), rows.size() + 1,
                                  fields.size(), names.size()));
    }
    auto& row = rows.emplace_back();
    for (std::size_t i = 0; i < names.size(); ++i) row[names[i]] = std::move(fields[i]);
  }
  return rows;
}

}  // namespace reno::report
