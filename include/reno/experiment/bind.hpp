// From a TOML value to an option: type, range and choices are checked against the option's description, and
// whatever does not fit becomes a problem at the value's position.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "reno/did_you_mean.hpp"
#include "reno/experiment/toml_text.hpp"
#include "reno/options.hpp"

namespace reno {

/// The type as a sentence has it: "expected an integer".
inline std::string_view expectation(OptionType type) {
  switch (type) {
    case OptionType::boolean:
      return "true or false";
    case OptionType::integer:
      return "an integer";
    case OptionType::number:
      return "a number";
    case OptionType::string:
    case OptionType::path:
      return "a string";
    case OptionType::integers:
      return "an array of integers";
    case OptionType::numbers:
      return "an array of numbers";
    case OptionType::strings:
      return "an array of strings";
  }
  return "";
}

/// "[0, 1]", "[1, inf)".
inline std::string interval_text(const bounds& range) {
  return fmt::format("{}{}, {}{}", std::isinf(range.low) ? '(' : '[', range.low, range.high,
                     std::isinf(range.high) ? ')' : ']');
}

namespace detail {

inline std::optional<OptionType> element_type(OptionType type) {
  switch (type) {
    case OptionType::integers:
      return OptionType::integer;
    case OptionType::numbers:
      return OptionType::number;
    case OptionType::strings:
      return OptionType::string;
    default:
      return std::nullopt;
  }
}

/// Binds the values of one section.
class OptionBinder {
 public:
  /// `section` opens the full name of a key, as in "run.seed".
  OptionBinder(std::string section, Problems& problems) : section_(std::move(section)), problems_(problems) {}

  /// Sets the options that `table` names; a key that none of them has is a problem.
  void bind(const toml::table& table, std::vector<Option>& options) {
    for (const auto& [key, node] : table) {
      const auto option = std::ranges::find(options, key.str(), &Option::key);
      if (option == options.end()) {
        problems_.add(key.source(), unknown_key(key.str(), options));
      } else if (const auto value = read(*option, fmt::format("{}.{}", section_, option->key), node)) {
        option->set(*value);
      }
    }
  }

 private:
  std::string unknown_key(std::string_view key, const std::vector<Option>& options) const {
    std::vector<std::string> keys;
    for (const Option& option : options) keys.push_back(option.key);
    const std::string meant = did_you_mean(key, keys);
    return fmt::format("unknown key '{}'{}", key,
                       meant.empty() ? fmt::format("; [{}] has: {}", section_, fmt::join(keys, ", "))
                                     : fmt::format(", did you mean '{}'?", meant));
  }

  std::optional<OptionValue> read(const Option& option, const std::string& name, const toml::node& node) {
    const auto element = element_type(option.type);
    if (!element) return scalar(option, option.type, name, node);
    switch (*element) {
      case OptionType::integer:
        return list<std::int64_t>(option, *element, name, node);
      case OptionType::number:
        return list<double>(option, *element, name, node);
      default:
        return list<std::string>(option, *element, name, node);
    }
  }

  template <class Element>
  std::optional<OptionValue> list(const Option& option, OptionType type, const std::string& name,
                                  const toml::node& node) {
    const toml::array* array = node.as_array();
    if (array == nullptr) return wrong_type(option.type, name, node);
    std::vector<Element> values;
    for (std::size_t i = 0; i < array->size(); ++i) {
      const auto value = scalar(option, type, fmt::format("{}[{}]", name, i), (*array)[i]);
      if (value) values.push_back(std::get<Element>(*value));
    }
    return values.size() == array->size() ? std::optional<OptionValue>(std::move(values)) : std::nullopt;
  }

  std::optional<OptionValue> scalar(const Option& option, OptionType type, const std::string& name,
                                    const toml::node& node) {
    switch (type) {
      case OptionType::boolean:
        if (node.is_boolean()) return *node.value<bool>();
        break;
      case OptionType::integer:
        if (node.is_integer()) return inside(option, *node.value<std::int64_t>(), name, node);
        break;
      case OptionType::number:
        if (node.is_number()) return inside(option, *node.value<double>(), name, node);
        break;
      default:
        if (node.is_string()) return allowed(option, *node.value<std::string>(), name, node);
        if (const auto text = bare_text(node)) return allowed(option, *text, name, node);
    }
    return wrong_type(type, name, node);
  }

  template <class Number>
  std::optional<OptionValue> inside(const Option& option, Number number, const std::string& name,
                                    const toml::node& node) {
    const auto value = static_cast<double>(number);
    const auto range = option.bounds.value_or(bounds{});
    if (!std::isfinite(value)) {
      problems_.add(node.source(), fmt::format("{} = {} is not finite", name, value));
    } else if (value < range.low || value > range.high) {
      problems_.add(node.source(), fmt::format("{} = {} is outside {}", name, number, interval_text(range)));
    } else {
      return number;
    }
    return std::nullopt;
  }

  std::optional<OptionValue> allowed(const Option& option, const std::string& text, const std::string& name,
                                     const toml::node& node) {
    if (text.find('\0') != std::string::npos) {
      problems_.add(node.source(), fmt::format("{} contains a NUL character", name));
    } else if (!option.choices.empty() && std::ranges::find(option.choices, text) == option.choices.end()) {
      const std::string meant = did_you_mean(text, option.choices);
      problems_.add(
          node.source(),
          fmt::format("{} = {} is none of {}{}", name, toml_text(text), fmt::join(option.choices, ", "),
                      meant.empty() ? "" : fmt::format("; did you mean '{}'?", meant)));
    } else {
      return text;
    }
    return std::nullopt;
  }

  /// What was typed after `--set key=`, where a string is wanted and the text happens to be another TOML
  /// value, as in `--set run.prompt=42`.
  std::optional<std::string> bare_text(const toml::node& node) const {
    const auto& source = node.source().path;
    if (source == nullptr || *source == problems_.file() || node.is_array()) return std::nullopt;
    return source->substr(source->find('=') + 1);
  }

  std::nullopt_t wrong_type(OptionType expected, const std::string& name, const toml::node& node) {
    problems_.add(node.source(),
                  fmt::format("{} is {}, expected {}", name, node_kind(node), expectation(expected)));
    return std::nullopt;
  }

  std::string section_;
  Problems& problems_;
};

}  // namespace detail

}  // namespace reno
