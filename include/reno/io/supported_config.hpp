// Configurations of published models have dozens of switches of which every known checkpoint uses one value.
// A network states that value here instead of ignoring the switch: another one is an error, not a wrong
// image.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "reno/error.hpp"
#include "reno/io/config.hpp"

namespace reno {

/// A configuration key and the one value (JSON text) that the network implements.
struct SupportedValue {
  const char* key;
  std::string_view json;
};

/// Throws LoadError, naming file and key, for a value other than the supported one. Absent and null are fine.
inline void require_supported(const Config& config, std::initializer_list<SupportedValue> values) {
  for (const auto& [key, json] : values) {
    if (!config.has(key)) continue;
    const auto& value = config.json().at(key);
    if (value != nlohmann::json::parse(json))
      throw LoadError(
          fmt::format("{} = {} is not supported, expected {}", config.where(key), value.dump(), json));
  }
}

/// A size per block: the key holds one number for all of them or a list of `blocks` numbers.
inline std::vector<std::int64_t> size_per_block(const Config& config, const std::string& key,
                                                std::int64_t fallback, std::size_t blocks) {
  if (!config.has(key) || !config.json().at(key).is_array())
    return std::vector<std::int64_t>(blocks, config.size(key, fallback));
  auto sizes = config.get<std::vector<std::int64_t>>(key, bounds{1, 1 << 20});
  if (sizes.size() != blocks)
    throw LoadError(fmt::format("{} has {} elements, expected one for each of {} blocks", config.where(key),
                                sizes.size(), blocks));
  return sizes;
}

/// Throws LoadError unless `divisor` (for example "norm_num_groups = 32") divides every size of `key`.
inline void require_divisible(const Config& config, const std::string& key,
                              const std::vector<std::int64_t>& sizes, std::int64_t divisor,
                              const std::string& divisor_name) {
  for (const auto size : sizes)
    if (size % divisor != 0)
      throw LoadError(
          fmt::format("{}: {} cannot be divided by {} = {}", config.where(key), size, divisor_name, divisor));
}

/// The value that a string stands for. Throws LoadError, naming file and key, for a string that is not
/// listed.
template <class Value>
Value named_value(const Config& config, const std::string& key, const std::string& fallback,
                  std::initializer_list<std::pair<const char*, Value>> values) {
  const auto name = config.get<std::string>(key, fallback);
  std::string have;
  for (const auto& [known, value] : values) {
    if (name == known) return value;
    have += (have.empty() ? "" : ", ") + std::string(known);
  }
  throw LoadError(fmt::format("{} = '{}' is not supported; have: {}", config.where(key), name, have));
}

}  // namespace reno
