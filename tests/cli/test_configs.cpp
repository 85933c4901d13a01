// The experiments in configs/ as a user without any weights meets them.
#include <stdlib.h>

#include <catch2/catch.hpp>

#include "support/program.hpp"

using namespace reno::test;

TEST_CASE("each generator's experiment in configs/ is right but for weights that must be downloaded",
          "[cli]") {
  const TemporaryFolder empty;
  setenv("HF_HUB_CACHE", empty.path().c_str(), 1);
  for (const std::string name : {"sd-turbo", "sdxl-turbo", "hyper-sd", "pixart", "flux-schnell"}) {
    INFO(name);
    const Outcome outcome = reno_run({"configs/" + name + ".toml", "--dry-run"});
    INFO(outcome.errors);
    CHECK(outcome.status == 3);
    CHECK_THAT(outcome.errors,
               Catch::Contains("no weights found for") && Catch::Contains("huggingface-cli download"));
  }
  unsetenv("HF_HUB_CACHE");
}
