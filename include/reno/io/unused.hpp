// Tensors of a checkpoint that no network asked for: often harmless, sometimes the sign of a wrong
// configuration, so a run says it.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/logger.h>

#include <algorithm>
#include <string>
#include <vector>

#include "reno/io/weights.hpp"

namespace reno {

/// The tensors that none of the scopes of one checkpoint used, without those below `harmless` prefixes and
/// without `position_ids`, which old versions of transformers stored although it is a constant.
inline std::vector<std::string> unused_tensors(const std::vector<Weights>& scopes,
                                               const std::vector<std::string>& harmless = {}) {
  std::vector<std::string> unused = scopes.at(0).unused();
  for (const auto& scope : scopes) {
    const auto others = scope.unused();
    std::erase_if(unused, [&](const auto& name) {
      return std::find(others.begin(), others.end(), name) == others.end();
    });
  }
  std::erase_if(unused, [&](const auto& name) {
    return name.ends_with("position_ids") ||
           std::any_of(harmless.begin(), harmless.end(),
                       [&](const auto& prefix) { return name.starts_with(prefix); });
  });
  return unused;
}

/// Warns of unused tensors, the first few by name.
inline void log_unused(const std::vector<Weights>& scopes, const std::string& component, spdlog::logger& log,
                       const std::vector<std::string>& harmless = {}) {
  auto unused = unused_tensors(scopes, harmless);
  if (unused.empty()) return;
  const auto count = unused.size();
  unused.resize(std::min<std::size_t>(count, 5));
  log.warn("{}: {} tensors of {} are not used by this model: {}{}", component, count,
           scopes.front().description(), fmt::join(unused, ", "), count > unused.size() ? ", …" : "");
}

}  // namespace reno
