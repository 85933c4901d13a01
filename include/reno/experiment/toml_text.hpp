// Values and problems of an experiment file as text: how a value is written in TOML, and the list of
// everything that is wrong with a file, a line each, in the order of the file. The only headers that include
// toml++ are those of this folder's reader and writer: plugins never see it.
#pragma once

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "reno/error.hpp"
#include "reno/options.hpp"

namespace reno {

namespace detail {

struct TomlText {
  std::string operator()(std::monostate) const { return "unset"; }
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(std::int64_t value) const { return fmt::to_string(value); }

  /// The shortest text that reads back as the same number, and as a float.
  std::string operator()(double value) const {
    std::string text = fmt::to_string(value);
    return text.find_first_of(".ein") == std::string::npos ? text + ".0" : text;
  }

  std::string operator()(const std::string& value) const {
    std::ostringstream stream;
    stream << toml::toml_formatter{toml::value<std::string>{value},
                                   toml::format_flags::allow_unicode_strings};
    return stream.str();
  }

  template <class Element>
  std::string operator()(const std::vector<Element>& values) const {
    std::string text;
    for (const Element& value : values) text += (text.empty() ? "" : ", ") + (*this)(value);
    return "[" + text + "]";
  }
};

}  // namespace detail

/// The value as TOML, on one line; "unset" for an optional without value, which TOML cannot say.
inline std::string toml_text(const OptionValue& value) { return std::visit(detail::TomlText(), value); }

/// What a person calls the node: "a string", "a table".
inline std::string_view node_kind(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::table:
      return "a table";
    case toml::node_type::array:
      return "an array";
    case toml::node_type::string:
      return "a string";
    case toml::node_type::integer:
      return "an integer";
    case toml::node_type::floating_point:
      return "a float";
    case toml::node_type::boolean:
      return "a boolean";
    case toml::node_type::date:
      return "a date";
    case toml::node_type::time:
      return "a time";
    default:
      return "a date and time";
  }
}

/// Where the nodes of an override say that they come from.
inline std::string override_source(const std::string& text) { return "--set " + text; }

/// All that is wrong with one experiment file and the overrides (`--set`) that were put on top of it.
class Problems {
 public:
  explicit Problems(std::string file, std::vector<std::string> overrides = {})
      : file_(std::move(file)), overrides_(std::move(overrides)) {
    std::ranges::transform(overrides_, overrides_.begin(), override_source);
  }

  /// At a key or a value; what an override brought is named by the override.
  void add(const toml::source_region& where, const std::string& what) {
    if (where.path == nullptr) {
      add(what);
    } else if (*where.path == file_) {
      list_.push_back(
          {0, where.begin, fmt::format("{}:{}:{}: {}", file_, where.begin.line, where.begin.column, what)});
    } else {
      const auto index = std::ranges::find(overrides_, *where.path) - overrides_.begin();
      list_.push_back(
          {2, {static_cast<toml::source_index>(index), 0}, fmt::format("{}: {}", *where.path, what)});
    }
  }

  /// Of the file as a whole.
  void add(const std::string& what) { list_.push_back({1, {}, fmt::format("{}: {}", file_, what)}); }

  /// Throws ConfigurationError with a line for each problem, sorted by position.
  void raise() {
    if (list_.empty()) return;
    std::ranges::stable_sort(list_, [](const Problem& a, const Problem& b) {
      return std::pair(a.rank, a.position) < std::pair(b.rank, b.position);
    });
    std::string lines;
    for (Problem& problem : list_) {
      std::ranges::replace_if(
          problem.line, [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
      lines += (lines.empty() ? "" : "\n") + problem.line;
    }
    throw ConfigurationError(lines);
  }

  const std::string& file() const { return file_; }

 private:
  struct Problem {
    int rank;  ///< places in the file, the file as a whole, overrides
    toml::source_position position;
    std::string line;
  };

  std::string file_;
  std::vector<std::string> overrides_;
  std::vector<Problem> list_;
};

}  // namespace reno
