// How far a process has come, in a small file for others to look at: progress.json in the run directory, one
// per shard. `reno-run --status` and the display of `--jobs` read them.
#pragma once

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "reno/io/atomic_file.hpp"
#include "reno/io/json_file.hpp"
#include "reno/run/shard.hpp"

namespace reno {

struct ShardStatus {
  double done = 0.0;  ///< batches, with a fraction
  double all = 0.0;
  std::int64_t failed = 0;        ///< cells of a sweep
  std::string state = "waiting";  ///< waiting, running, stopped, failed, ended
  std::string host;
  std::int64_t process = 0;
  double updated = 0.0;  ///< seconds since 1970

  bool ended() const { return state == "ended"; }
};

/// Writes one shard's status, at most once a second unless the state changes.
class StatusFile {
 public:
  explicit StatusFile(std::filesystem::path file) : file_(std::move(file)) {
    std::array<char, 256> host{};
    ::gethostname(host.data(), host.size() - 1);
    status_.host = host.data();
    status_.process = ::getpid();
  }

  void update(double done, double all, std::int64_t failed = 0) {
    status_.done = done;
    status_.all = all;
    status_.failed = failed;
    if (status_.state != "running" || now() - status_.updated >= 1.0) write("running");
  }

  void write(const std::string& state) {
    status_.state = state;
    status_.updated = now();
    write_file_atomically(file_, nlohmann::ordered_json({{"state", status_.state},
                                                         {"done", status_.done},
                                                         {"all", status_.all},
                                                         {"failed", status_.failed},
                                                         {"host", status_.host},
                                                         {"process", status_.process},
                                                         {"updated", status_.updated}})
                                         .dump() +
                                     "\n");
  }

  /// The same while an error is on its way, which is what people must be told of.
  void try_write(const std::string& state) {
    try {
      write(state);
    } catch (const RunError&) {
    }
  }

  static double now() {
    return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  }

 private:
  std::filesystem::path file_;
  ShardStatus status_;
};

/// Of a process that has not written yet: waiting.
inline ShardStatus read_status(const std::filesystem::path& file) {
  ShardStatus status;
  if (!std::filesystem::exists(file)) return status;
  const auto object = read_json_object(file);
  status.state = object.value("state", "");
  status.done = object.value("done", 0.0);
  status.all = object.value("all", 0.0);
  status.failed = object.value("failed", std::int64_t{0});
  status.host = object.value("host", "");
  status.process = object.value("process", std::int64_t{0});
  status.updated = object.value("updated", 0.0);
  return status;
}

/// One entry for each of so many shards of the run or sweep in the directory.
inline std::vector<ShardStatus> read_statuses(const std::filesystem::path& directory, std::int64_t shards) {
  std::vector<ShardStatus> statuses;
  for (std::int64_t i = 0; i < shards; ++i)
    statuses.push_back(read_status(directory / Shard{i, shards}.folder() / "progress.json"));
  return statuses;
}

/// The same for those that wrote last: a run may be continued by another number of processes.
inline std::vector<ShardStatus> read_latest_statuses(const std::filesystem::path& directory) {
  const auto updated = [](const std::vector<ShardStatus>& statuses) {
    return std::ranges::max(statuses, {}, &ShardStatus::updated).updated;
  };
  auto latest = read_statuses(directory, 1);
  std::error_code none;
  for (const auto& item : std::filesystem::directory_iterator(directory / ".shards", none)) {
    const std::string name = item.path().filename();
    std::int64_t shards = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), shards);
    if (error != std::errc() || end != name.data() + name.size() || shards < 2 || shards > Shard::most)
      continue;
    auto statuses = read_statuses(directory, shards);
    if (updated(statuses) > updated(latest)) latest = std::move(statuses);
  }
  return latest;
}

}  // namespace reno
