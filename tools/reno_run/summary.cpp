#include "summary.hpp"

#include <fmt/format.h>

#include "reno/image/terminal.hpp"

namespace reno {

namespace {

void print_row(const std::string& name, double initial, double best) {
  fmt::print("  {:<20} {:>12.4f} {:>12.4f} {:>+12.4f}\n", name, initial, best, best - initial);
}

}  // namespace

void print_summary(const RunSummary& summary) {
  const auto& [rewards, means, costs, comparison, output] = summary;
  if (terminal_shows_pictures() && !comparison.empty()) {
    fmt::print("{}", terminal_picture(comparison.sheet(), 120));
    fmt::print("  before (above) and after (below)\n\n");
  }
  if (!rewards.empty()) {
    fmt::print("  {:<20} {:>12} {:>12} {:>12}\n", means.count == 1 ? "score" : "mean score", "initial",
               "best", "change");
    for (std::size_t k = 0; k < rewards.size(); ++k) {
      print_row(rewards[k], means.mean(means.initial[k]), means.mean(means.best[k]));
    }
    print_row("total loss", means.mean(means.initial_total), means.mean(means.best_total));
    fmt::print("\n");
  }
  fmt::print("  {} prompt{}, {:.1f} s ({:.3f} s per iteration, {:.1f} s loading), peak memory {}\n",
             means.count, means.count == 1 ? "" : "s", costs.optimize_seconds, costs.seconds_per_iteration(),
             costs.load_seconds, format_bytes(costs.peak_bytes));
  fmt::print("  results: {}  pictures: {}\n  report:  {}\n", (output / "results.json").string(),
             (output / "comparison.png").string(), (output / "report.html").string());
}

}  // namespace reno
