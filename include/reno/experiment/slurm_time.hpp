// Slurm's notation of a time limit, for what must be shorter than it.
#pragma once

#include <cstdint>
#include <optional>
#include <regex>
#include <string>

namespace reno {

/// The seconds of a time limit in one of sbatch's forms: minutes, minutes:seconds, hours:minutes:seconds, or
/// with days and a dash before hours, hours:minutes, hours:minutes:seconds. Nothing for no limit (0, "",
/// "UNLIMITED") and for what is none of them, which sbatch will say.
inline std::optional<std::int64_t> slurm_seconds(const std::string& limit) {
  static const std::regex form("(?:([0-9]{1,9})-)?([0-9]{1,9})(?::([0-9]{1,9}))?(?::([0-9]{1,9}))?");
  std::smatch match;
  if (!std::regex_match(limit, match, form)) return std::nullopt;
  const auto number = [&](std::size_t part) -> std::int64_t {
    return match[part].matched ? std::stoll(match[part]) : 0;
  };
  const bool begins_with_hours = match[1].matched || match[4].matched;
  const std::int64_t seconds = begins_with_hours
                                   ? ((number(1) * 24 + number(2)) * 60 + number(3)) * 60 + number(4)
                                   : number(2) * 60 + number(3);
  return seconds == 0 ? std::nullopt : std::optional(seconds);
}

}  // namespace reno
