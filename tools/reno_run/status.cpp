#include "status.hpp"

#include <fmt/format.h>

#include "reno/error.hpp"
#include "reno/run/progress.hpp"

namespace reno {

double overall_share(const std::vector<ShardStatus>& statuses) {
  double done = 0.0;
  double all = 0.0;
  // A shard that has not begun has about as much to do as the others.
  std::size_t known = 0;
  for (const auto& status : statuses) {
    done += status.done;
    all += status.all;
    known += status.state == "waiting" ? 0 : 1;
  }
  if (known == 0) return 0.0;
  if (all == 0.0) return known == statuses.size() ? 1.0 : 0.0;
  return done / (all * static_cast<double>(statuses.size()) / static_cast<double>(known));
}

std::string overall_text(const std::vector<ShardStatus>& statuses) {
  double done = 0.0;
  double all = 0.0;
  std::int64_t failed = 0;
  for (const auto& status : statuses) {
    done += status.done;
    all += status.all;
    failed += status.failed;
  }
  std::string text = fmt::format("{:.0f} %, {:.0f} of {:.0f} batches", 100.0 * overall_share(statuses),
                                 std::floor(done), all);
  if (failed > 0) text += fmt::format(", {} cell{} failed", failed, failed == 1 ? "" : "s");
  return text;
}

std::string status_text(const std::filesystem::path& directory) {
  if (!std::filesystem::exists(directory / "experiment.toml")) {
    throw ConfigurationError(fmt::format(
        "{}: holds neither a run nor a sweep (there is no experiment.toml in it)", directory.string()));
  }
  const auto statuses = read_latest_statuses(directory);
  std::string text;
  for (std::size_t i = 0; i < statuses.size(); ++i) {
    const auto& status = statuses[i];
    if (statuses.size() > 1) text += fmt::format("shard {}/{}  ", i, statuses.size());
    text += fmt::format("{:<8} {:>8.1f} of {:.0f} batches", status.state, status.done, status.all);
    if (status.failed > 0) text += fmt::format("  {} failed", status.failed);
    if (status.process != 0) {
      text += fmt::format("  process {} on {}, {} ago", status.process, status.host,
                          format_duration(std::max(0.0, StatusFile::now() - status.updated)));
    }
    text += "\n";
  }
  return text + overall_text(statuses) + "\n";
}

}  // namespace reno
