// What `reno-run` prints when a run is done.
#pragma once

#include "reno/run/run.hpp"

namespace reno {

/// Initial -> best per reward, costs, and where the results are; the picture too on a terminal that shows
/// colours.
void print_summary(const RunSummary& summary);

/// Where a sweep has left its results.
void print_sweep(const std::filesystem::path& output, std::int64_t cells);

}  // namespace reno
