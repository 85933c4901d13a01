// docs/experiment-reference.md is what the program prints.
#include <catch2/catch.hpp>

#include "support/program.hpp"

using namespace reno::test;

TEST_CASE("The reference of the experiment file is up to date", "[cli]") {
  const Outcome outcome = reno_run({"--reference"});
  REQUIRE(outcome.status == 0);
  INFO("mend it with: build/release/bin/reno-run --reference > docs/experiment-reference.md");
  CHECK(outcome.output == read_file(std::string(RENO_SOURCE_DIR) + "/docs/experiment-reference.md"));
}
