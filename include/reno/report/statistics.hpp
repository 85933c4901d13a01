// Before and after over many images, added up one at a time (Welford's algorithm), so that a million images
// take no more memory than one.
#pragma once

#include <cmath>
#include <cstdint>
#include <optional>
#include <vector>

namespace reno::report {

/// One value (a score, or the total loss) over images.
struct Change {
  std::int64_t count = 0;
  double initial = 0.0;  ///< mean
  double best = 0.0;     ///< mean
  double change = 0.0;   ///< mean of best - initial
  double squares = 0.0;  ///< of the differences from that mean
  std::int64_t improved = 0;

  void add(double before, double after, bool higher_is_better) {
    ++count;
    const auto n = static_cast<double>(count);
    initial += (before - initial) / n;
    best += (after - best) / n;
    const double difference = after - before;
    const double from_mean = difference - change;
    change += from_mean / n;
    squares += from_mean * (difference - change);
    improved += (higher_is_better ? difference > 0.0 : difference < 0.0) ? 1 : 0;
  }

  /// Half the width of the normal 95 % confidence interval of the mean change; none for fewer images than
  /// make it meaningful.
  std::optional<double> interval() const {
    constexpr std::int64_t fewest = 10;
    if (count < fewest) return std::nullopt;
    const auto n = static_cast<double>(count);
    return 1.96 * std::sqrt(squares / (n - 1.0) / n);
  }
};

/// Per value, in the order of the run's rewards, the total loss last.
struct Changes {
  std::vector<Change> values;

  void add(const std::vector<double>& initial, const std::vector<double>& best) {
    values.resize(initial.size());
    for (std::size_t k = 0; k < initial.size(); ++k) {
      const bool is_total = k + 1 == initial.size();
      values[k].add(initial[k], best[k], !is_total);
    }
  }
};

}  // namespace reno::report
