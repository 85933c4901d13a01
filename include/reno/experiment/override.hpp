// `--set key.path=value`: puts a value on top of a parsed experiment file before it is read, so that an
// override may do all that the file may, and is checked as the file is.
#pragma once

#include <algorithm>
#include <boost/algorithm/string/classification.hpp>
#include <boost/algorithm/string/split.hpp>
#include <boost/algorithm/string/trim.hpp>
#include <charconv>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "reno/experiment/paths.hpp"
#include "reno/experiment/toml_text.hpp"

namespace reno {

namespace detail {

/// A table whose only entry is the value, read as TOML or, where it is none, as a bare string. Its nodes know
/// `source`.
inline toml::table parse_override_value(std::string_view value, const std::string& source) {
  try {
    toml::table parsed = toml::parse(fmt::format("value = {}", value), std::string_view(source));
    if (parsed.size() == 1 && !parsed["value"].is_table()) return parsed;
  } catch (const toml::parse_error&) {
  }
  return toml::parse(fmt::format("value = {}", toml_text(std::string(value))), std::string_view(source));
}

/// The table of an array that `segment` names: by index, by its `name`, or by its `plugin`.
inline toml::table* find_element(toml::array& array, const std::string& segment) {
  std::size_t index = 0;
  const char* const end = segment.data() + segment.size();
  if (std::from_chars(segment.data(), end, index).ptr == end) {
    return index < array.size() ? array[index].as_table() : nullptr;
  }
  for (const char* key : {"name", "plugin"}) {
    for (toml::node& element : array) {
      toml::table* table = element.as_table();
      if (table != nullptr && (*table)[key].value<std::string_view>() == segment) return table;
    }
  }
  return nullptr;
}

/// The table that holds the last of the keys in `path`; tables are made where the file has none. Null, with
/// the reason in `problem`, when the file has something else there.
inline toml::table* find_table(toml::table& root, const std::vector<std::string>& path,
                               const toml::source_region& where, std::string& problem) {
  toml::table* table = &root;
  for (std::size_t i = 0; i + 1 < path.size(); ++i) {
    const std::string& section = path[i];
    toml::node* next = table->get(section);
    if (next == nullptr) {
      toml::table made = toml::parse("made = {}", std::string_view(*where.path));
      next = &table->insert(toml::key(section, where), std::move(*made["made"].as_table())).first->second;
    }
    toml::array* array = next->as_array();
    table = array == nullptr      ? next->as_table()
            : i + 2 < path.size() ? find_element(*array, path[++i])
                                  : nullptr;
    if (table == nullptr) {
      problem = array == nullptr
                    ? fmt::format("{} is {}, not a section", section, node_kind(*next))
                    : fmt::format("the file has {} [[{}]]: name one as in {}.0.{}, or by its name",
                                  array->size(), section, section, path.back());
      return nullptr;
    }
  }
  return table;
}

}  // namespace detail

/// Applies one override; what is wrong with it is added to `problems`.
inline void apply_override(toml::table& root, const std::string& text, Problems& problems) {
  const std::string source = override_source(text);
  const toml::source_region where{{}, {}, std::make_shared<const std::string>(source)};
  const std::size_t equals = text.find('=');
  std::vector<std::string> path;
  boost::algorithm::split(path, boost::algorithm::trim_copy(text.substr(0, equals)),
                          boost::algorithm::is_any_of("."));
  if (equals == std::string::npos || path.size() < 2 || std::ranges::any_of(path, &std::string::empty)) {
    return problems.add(where, "expected section.key=value, for example run.iterations=10");
  }
  if (!is_utf8(text)) return problems.add(where, "is not UTF-8");
  std::string problem;
  toml::table* table = detail::find_table(root, path, where, problem);
  if (table == nullptr) return problems.add(where, problem);
  toml::table parsed = detail::parse_override_value(std::string_view(text).substr(equals + 1), source);
  parsed.begin()->second.visit(
      [&](auto& value) { table->insert_or_assign(toml::key(path.back(), where), std::move(value)); });
}

}  // namespace reno
