// `[sweep]`: one file, many runs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "reno/options.hpp"

namespace reno {

enum class SweepKind {
  leave_one_out,  ///< the full objective, and each of its rewards left out
  combinations,   ///< subsets of the rewards
  grid            ///< one objective; only the values of [sweep.grid] differ
};

struct SweepOptions {
  SweepKind kind = SweepKind::leave_one_out;
  std::optional<std::int64_t> size;
  std::vector<std::int64_t> seeds;
  /// `[sweep.grid]`: keys as after `--set`, each with its values as TOML.
  std::vector<std::pair<std::string, std::vector<std::string>>> grid;

  void describe(auto& field) {
    field(
        "kind", kind,
        "leave-one-out: the full objective, then without each weighted reward; combinations: all subsets of "
        "the weighted rewards; grid: the objective as it is. What is left out is still measured",
        spelling<SweepKind>{{{"leave-one-out", SweepKind::leave_one_out},
                             {"combinations", SweepKind::combinations},
                             {"grid", SweepKind::grid}}});
    field("size", size, "combinations: only subsets of so many rewards, and the full objective", bounds{1});
    field("seeds", seeds,
          "each cell with each of these for run.seed; run.samples has several seeds within one cell");
  }

  bool operator==(const SweepOptions&) const = default;
};

}  // namespace reno
