// How far a process has come, in a small file for others to look at: progress.json in the run directory, one
// per shard. `reno-run --status` and the display of `--jobs` read them.
#pragma once

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "reno/io/atomic_file.hpp"
#include "reno/io/json_file.hpp"

namespace reno {

struct ShardStatus {
  double done = 0.0;  ///< batches, with a fraction
  double all = 0.0;
  std::int64_t failed = 0;        ///< cells of a sweep
  std::string state = "waiting";  ///< waiting, running, stopped, ended
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

/// One entry for each shard of the run or sweep in the directory.
inline std::vector<ShardStatus> read_statuses(const std::filesystem::path& directory) {
  std::error_code none;
  for (const auto& item : std::filesystem::directory_iterator(directory / ".shards", none)) {
    std::vector<ShardStatus> statuses;
    const auto count = std::stoll(item.path().filename().string());
    for (std::int64_t i = 0; i < count; ++i)
      statuses.push_back(read_status(item.path() / fmt::format("{:05}", i) / "progress.json"));
    return statuses;
  }
  return {read_status(directory / "progress.json")};
}

}  // namespace reno
