// A model's configuration file (config.json and its kin), read defensively: every value is checked for its
// type and range where it is read, and every error names file and key. Absent keys take the default of the
// library that wrote the file, which the caller states.
#pragma once

#include <fmt/format.h>

#include <concepts>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "reno/error.hpp"
#include "reno/io/json_file.hpp"
#include "reno/options.hpp"

namespace reno {

namespace detail {

template <class T>
struct ConfigList : std::false_type {};
template <class T>
struct ConfigList<std::vector<T>> : std::true_type {
  using Element = T;
};

/// What a value should have been, for messages.
template <class T>
std::string config_type() {
  if constexpr (ConfigList<T>::value) {
    return "a list, each element " + config_type<typename ConfigList<T>::Element>();
  } else if constexpr (std::same_as<T, bool>) {
    return "true or false";
  } else if constexpr (std::integral<T>) {
    return "a whole number";
  } else if constexpr (std::floating_point<T>) {
    return "a number";
  } else {
    return "a string";
  }
}

/// Strict conversion: unlike the JSON library's it turns no fraction, boolean or overflow into an integer.
template <class T>
std::optional<T> config_value(const nlohmann::json& json) {
  if constexpr (ConfigList<T>::value) {
    if (!json.is_array()) return {};
    T list;
    for (const auto& item : json) {
      auto element = config_value<typename T::value_type>(item);
      if (!element) return {};
      list.push_back(std::move(*element));
    }
    return list;
  } else if constexpr (std::same_as<T, bool>) {
    return json.is_boolean() ? std::optional(json.get<bool>()) : std::nullopt;
  } else if constexpr (std::integral<T>) {
    if (json.is_number_unsigned()) {
      const auto value = json.get<std::uint64_t>();
      return std::in_range<T>(value) ? std::optional(static_cast<T>(value)) : std::nullopt;
    }
    if (!json.is_number_integer()) return {};
    const auto value = json.get<std::int64_t>();
    return std::in_range<T>(value) ? std::optional(static_cast<T>(value)) : std::nullopt;
  } else if constexpr (std::floating_point<T>) {
    return json.is_number() ? std::optional(json.get<T>()) : std::nullopt;
  } else {
    static_assert(std::same_as<T, std::string>, "a configuration value is a bool, number, string or list");
    return json.is_string() ? std::optional(json.get<std::string>()) : std::nullopt;
  }
}

}  // namespace detail

/// One JSON object of a configuration file; a value. `null` counts as absent.
class Config {
 public:
  /// Throws LoadError when the file is missing, is not a JSON object, or is too large for a configuration.
  static Config read(const std::filesystem::path& file) {
    return Config(read_json_object(file, 16'000'000), file.string(), "");
  }

  /// From text; `origin` stands for the file's name in messages.
  static Config parse(std::string_view text, const std::string& origin) {
    auto json = parse_json(text, origin);
    if (!json.is_object()) throw LoadError(origin + ": expected a JSON object, got " + json.type_name());
    return Config(std::move(json), origin, "");
  }

  bool has(const std::string& key) const { return find(key) != nullptr; }

  /// The value of a key that must be there. Throws LoadError when it is absent, of another type, or, for
  /// numbers and the numbers of a list, outside `range`.
  template <class T>
  T get(const std::string& key, bounds range = {}) const {
    const auto* json = find(key);
    if (json == nullptr)
      throw LoadError(fmt::format("{}: is missing, expected {}", where(key), detail::config_type<T>()));
    auto value = detail::config_value<T>(*json);
    if (!value)
      throw LoadError(
          fmt::format("{} = {}: expected {}", where(key), shown(*json), detail::config_type<T>()));
    check(key, *value, range);
    return std::move(*value);
  }

  /// The same with a default for an absent key; a string literal gives a std::string.
  template <class T>
  requires(!std::same_as<T, bounds>) auto get(const std::string& key, T fallback, bounds range = {}) const {
    using Value = std::conditional_t<std::convertible_to<T, std::string_view>, std::string, T>;
    return has(key) ? get<Value>(key, range) : Value(std::move(fallback));
  }

  /// A width, depth or count: a whole number from 1 to `most`, so that what is derived from several of them
  /// cannot overflow.
  std::int64_t size(const std::string& key, std::optional<std::int64_t> fallback = {},
                    std::int64_t most = 1 << 20) const {
    const bounds range{1.0, static_cast<double>(most)};
    return fallback ? get<std::int64_t>(key, *fallback, range) : get<std::int64_t>(key, range);
  }

  /// A nested object; empty when absent, so that its keys take their defaults.
  Config section(const std::string& key) const {
    const auto* json = find(key);
    if (json == nullptr) return Config(nlohmann::json::object(), origin_, prefix_ + key + ".");
    if (!json->is_object())
      throw LoadError(fmt::format("{} = {}: expected an object", where(key), shown(*json)));
    return Config(*json, origin_, prefix_ + key + ".");
  }

  /// "file: key" for messages about a value that fits its type but not the model.
  std::string where(const std::string& key) const { return fmt::format("{}: {}{}", origin_, prefix_, key); }

  /// The object itself, for values of mixed type.
  const nlohmann::json& json() const { return json_; }

 private:
  Config(nlohmann::json json, std::string origin, std::string prefix)
      : json_(std::move(json)), origin_(std::move(origin)), prefix_(std::move(prefix)) {}

  const nlohmann::json* find(const std::string& key) const {
    const auto found = json_.find(key);
    return found == json_.end() || found->is_null() ? nullptr : &*found;
  }

  template <class T>
  void check(const std::string& key, const T& value, const bounds& range) const {
    if constexpr (detail::ConfigList<T>::value) {
      for (const auto& element : value) check(key, element, range);
    } else if constexpr (std::is_arithmetic_v<T> && !std::same_as<T, bool>) {
      const auto number = static_cast<double>(value);
      if (!(number >= range.low && number <= range.high))
        throw LoadError(fmt::format("{} = {} is outside [{}, {}]", where(key), value, range.low, range.high));
    }
  }

  static std::string shown(const nlohmann::json& json) {
    if (json.is_structured()) return json.type_name();
    return json.is_string() ? in_quotes(json.get<std::string>()) : json.dump();
  }

  nlohmann::json json_;
  std::string origin_;
  std::string prefix_;
};

}  // namespace reno
