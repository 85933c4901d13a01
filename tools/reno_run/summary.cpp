#include "summary.hpp"

#include <fmt/format.h>

#include "reno/image/terminal.hpp"
#include "reno/run/memory.hpp"

namespace reno {

namespace {

using Json = nlohmann::ordered_json;

void print_picture(const std::filesystem::path& comparison) {
  if (!terminal_shows_pictures() || !std::filesystem::exists(comparison)) return;
  fmt::print("{}  before (above) and after (below)\n\n", terminal_picture(read_png(comparison), 120));
}

void print_row(const std::string& name, const Json& mean) {
  const auto initial = mean.at("initial").get<double>();
  const auto best = mean.at("best").get<double>();
  fmt::print("  {:<20} {:>12.4f} {:>12.4f} {:>+12.4f}\n", name, initial, best, best - initial);
}

/// What the loop took the best images for, where it saw previews of them.
void print_previews(const Json& mean) {
  if (!mean["total"].contains("previewed_best")) return;
  fmt::print("  by the preview decoder the best were");
  for (const auto& [reward, scores] : mean["scores"].items())
    fmt::print(" {} {:.4f},", reward, scores["previewed_best"].get<double>());
  fmt::print(" total loss {:.4f}; all else is of the images kept\n\n",
             mean["total"]["previewed_best"].get<double>());
}

/// The same of the images of `[refine]`.
void print_refined(const Json& results) {
  if (!results.contains("refined")) return;
  const auto& mean = results["refined"]["mean"];
  fmt::print("  refined\n");
  for (const auto& [reward, scores] : mean["scores"].items()) print_row(reward, scores);
  print_row("total loss", mean["total"]);
  fmt::print("\n");
}

/// How many images of each kind have improved, where the prompts tell of kinds.
void print_labels(const Json& results) {
  if (!results.contains("by_label")) return;
  for (const auto& [label, values] : results["by_label"].items()) {
    if (values.size() > 40) continue;
    fmt::print("  {:<26} {:>8} {:>10} {:>12}\n", label, "images", "improved", "mean gain");
    for (const auto& [value, means] : values.items()) {
      const auto& benchmark = means["benchmark"];
      fmt::print("    {:<24} {:>8} {:>8.1f} % {:>+12.4f}\n", value, means["images"].get<std::int64_t>(),
                 100.0 * benchmark["improved"].get<double>(), benchmark["mean_improvement"].get<double>());
    }
    fmt::print("\n");
  }
}

}  // namespace

void print_summary(const RunSummary& summary) {
  const auto& [results, output] = summary;
  print_picture(output / "comparison.png");
  const auto images = results["images"].get<std::int64_t>();
  const auto& mean = results["mean"];
  if (mean.contains("scores")) {
    fmt::print("  {:<20} {:>12} {:>12} {:>12}\n", images == 1 ? "score" : "mean score", "initial", "best",
               "change");
    for (const auto& [reward, scores] : mean["scores"].items()) print_row(reward, scores);
    print_row("total loss", mean["total"]);
    fmt::print("\n");
    print_previews(mean);
    if (images > 1) {
      const auto& benchmark = results["benchmark"];
      fmt::print("  improved in {}: {:.1f} % of the images\n\n", benchmark["reward"].get<std::string>(),
                 100.0 * benchmark["improved"].get<double>());
    }
    print_refined(results);
    print_labels(results);
  }
  const auto& seconds = results["seconds"];
  fmt::print("  {} image{}, {:.1f} s ({:.3f} s per iteration, {:.1f} s loading), peak memory {}\n", images,
             images == 1 ? "" : "s", seconds["optimize"].get<double>(),
             seconds["per_iteration"].get<double>(), seconds["load"].get<double>(),
             format_bytes(results["peak_memory_bytes"].get<std::int64_t>()));
  fmt::print("  results: {}  pictures: {}\n  report:  {}\n", (output / "results.json").string(),
             (output / "comparison.png").string(), (output / "report.html").string());
}

void print_sweep(const std::filesystem::path& output, std::int64_t cells) {
  fmt::print("  {}\n  table:  {}  numbers: {}\n  report: {}\n",
             fmt::format("{} cell{}", cells, cells == 1 ? "" : "s"), (output / "sweep.md").string(),
             (output / "sweep.csv").string(), (output / "report.html").string());
}

}  // namespace reno
