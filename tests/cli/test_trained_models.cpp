// Models that shapes-train makes from nothing, in the hands of reno-run.
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <map>

#include "support/program.hpp"

using namespace reno::test;

TEST_CASE("what shapes-train writes runs through the plugins of the published models") {
  const TemporaryFolder folder;
  const auto trained = Program({"--all", "--tiny", "--scale", "0.1", "--output", folder.path().string()},
                               RENO_SOURCE_DIR, "shapes-train")
                           .wait();
  INFO(trained.output << trained.errors);
  REQUIRE(trained.status == 0);
  std::string experiment =
      "[run]\nprompt = \"a red circle left of a blue square\"\niterations = 2\n\n"
      "[generator]\nplugin = \"sd-turbo\"\nweights = \"generator\"\n";
  for (const auto& [plugin, lines] : std::map<std::string, std::string>{
           {"clip-score", "weights = \"rewards/clip\""},
           {"pickscore", "weights = \"rewards/pickscore\""},
           {"hpsv2", "weights = \"rewards/hpsv2\""},
           {"imagereward", "weights = \"rewards/imagereward\""},
           {"aesthetic", "weights = \"rewards/aesthetic\"\nclip = \"rewards/aesthetic/hf\"\nweight = 1.0"}})
    experiment += fmt::format("\n[[reward]]\nplugin = \"{}\"\n{}\n", plugin, lines);
  const auto file = folder.write("all.toml", experiment);
  const auto run = reno_run({file.string(), "--output", (folder / "run").string()});
  INFO(run.output << run.errors);
  CHECK(run.status == 0);
  CHECK(run.errors.find("not used") == std::string::npos);
}
