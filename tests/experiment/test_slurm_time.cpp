#include <catch2/catch.hpp>
#include <optional>

#include "reno/experiment/slurm_time.hpp"

namespace {

using namespace reno;

TEST_CASE("a time limit in each of sbatch's forms", "[slurm]") {
  CHECK(slurm_seconds("90") == 90 * 60);
  CHECK(slurm_seconds("10:30") == 10 * 60 + 30);
  CHECK(slurm_seconds("1:00:05") == 3605);
  CHECK(slurm_seconds("2-3") == 51 * 3600);
  CHECK(slurm_seconds("2-3:04") == 51 * 3600 + 4 * 60);
  CHECK(slurm_seconds("2-3:04:05") == 51 * 3600 + 4 * 60 + 5);
}

TEST_CASE("no time limit, and what is none", "[slurm]") {
  for (const char* text : {"", "0", "0:00", "UNLIMITED", "infinite", "1:2:3:4", "1-", "-5", "1h", "1 ", "1.5",
                           "99999999999999999999"}) {
    INFO(text);
    CHECK(slurm_seconds(text) == std::nullopt);
  }
}

}  // namespace
