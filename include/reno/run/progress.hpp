// What people see while they wait: a bar with an ETA on a terminal, plain lines now and then in a log.
#pragma once

#include <fmt/format.h>
#include <spdlog/logger.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <utility>

namespace reno {

/// "1:05" or "2:03:09".
inline std::string format_duration(double seconds) {
  const auto whole = static_cast<std::int64_t>(seconds + 0.5);
  const auto hours = whole / 3600;
  return hours > 0 ? fmt::format("{}:{:02}:{:02}", hours, whole / 60 % 60, whole % 60)
                   : fmt::format("{}:{:02}", whole / 60, whole % 60);
}

/// Counts iterations over all batches of a process. Lines go to the logger; the bar goes to standard error
/// when that is a terminal.
class Progress {
 public:
  /// done: batches of an earlier process, which are not waited for. listener: is told how many batches are
  /// done, with a fraction, and of how many; may be empty.
  Progress(std::int64_t batches, std::int64_t done, std::int64_t iterations,
           std::shared_ptr<spdlog::logger> log, bool quiet, std::function<void(double, double)> listener)
      : batches_(batches),
        done_(done),
        iterations_(iterations),
        log_(std::move(log)),
        quiet_(quiet),
        listener_(std::move(listener)),
        terminal_(!quiet && ::isatty(STDERR_FILENO) == 1) {}

  ~Progress() { clear(); }

  /// image: number of the batch's first, of `images`; total and best: mean over the batch.
  void update(std::int64_t image, std::int64_t images, std::int64_t iteration, double total, double best) {
    const double all = static_cast<double>(batches_ * iterations_);
    const double done = static_cast<double>(done_ * iterations_ + iteration + 1);
    if (listener_) listener_(done / static_cast<double>(iterations_), static_cast<double>(batches_));
    const double seconds = seconds_since(started_) / static_cast<double>(++worked_);
    const std::string eta = format_duration(seconds * (all - done));
    const std::string where = images == 1 ? "" : fmt::format("image {}/{}  ", image + 1, images);
    const std::string numbers =
        fmt::format("{}iteration {}/{}  total {:.4f}  best {:.4f}  {:.2f} s/it  ETA {}", where, iteration + 1,
                    iterations_, total, best, seconds, eta);
    if (terminal_) {
      fmt::print(stderr, "\r\033[K{} {}", bar(done / all), numbers);
      std::fflush(stderr);
    } else if (!quiet_ &&
               (iteration == 0 || iteration + 1 == iterations_ || seconds_since(last_line_) >= 10.0)) {
      log_->info("{}", numbers);
      last_line_ = Clock::now();
    }
  }

  /// A batch is done.
  void next_batch() { ++done_; }
  std::int64_t done() const { return done_; }

  /// Takes the bar away, so that other lines can be printed.
  void clear() const {
    if (terminal_) fmt::print(stderr, "\r\033[K");
  }

 private:
  using Clock = std::chrono::steady_clock;

  static double seconds_since(Clock::time_point point) {
    return std::chrono::duration<double>(Clock::now() - point).count();
  }

  static std::string bar(double fraction) {
    constexpr int width = 24;
    std::string text;
    for (int i = 0; i < width; ++i) text += i < static_cast<int>(fraction * width + 0.5) ? "━" : "─";
    return text;
  }

  std::int64_t batches_;
  std::int64_t done_;
  std::int64_t iterations_;
  std::int64_t worked_ = 0;  ///< iterations of this process
  std::shared_ptr<spdlog::logger> log_;
  bool quiet_;
  std::function<void(double, double)> listener_;
  bool terminal_;
  Clock::time_point started_ = Clock::now();
  Clock::time_point last_line_ = Clock::now();
};

}  // namespace reno
