// The experiments in configs/ as a user without any weights meets them, and as one who has downloaded them.
#include <stdlib.h>

#include <catch2/catch.hpp>

#include "support/hollow_models.hpp"
#include "support/program.hpp"

using namespace reno::test;
namespace fs = std::filesystem;

namespace {

const std::vector<std::string> generators = {"sd-turbo", "sdxl-turbo", "hyper-sd", "pixart", "flux-schnell"};

}  // namespace

TEST_CASE("each generator's experiment in configs/ is right but for weights that must be downloaded",
          "[cli]") {
  const HubCache empty;
  for (const std::string& name : generators) {
    INFO(name);
    const Outcome outcome = reno_run({"configs/" + name + ".toml", "--dry-run"});
    INFO(outcome.errors);
    CHECK(outcome.status == 3);
    CHECK_THAT(outcome.errors,
               Catch::Contains("no weights found for") && Catch::Contains("huggingface-cli download"));
  }
}

TEST_CASE("with the published models in the hub's cache, every experiment in configs/ is complete", "[cli]") {
  if (!HollowModels::possible()) {
    WARN("SKIPPED: the names and shapes of the published models are not in ../shared/goldens");
    return;
  }
  const HollowModels published;
  const TemporaryFolder folder;
  // What users bring with a benchmark.
  const std::map<std::string, std::string> prompts = {
      {"geneval", folder.write("geneval.jsonl", R"({"tag": "single_object", "prompt": "a photo of a bench"})"
                                                "\n")},
      {"t2i-compbench", folder.write("color_val.txt", "a green bench and a blue bowl\n")},
      {"parti-prompts",
       folder.write("PartiPrompts.tsv", "Prompt\tCategory\tChallenge\tNote\nbond\tAbstract\tBasic\t\n")}};
  int complete = 0;
  for (const auto& item : fs::recursive_directory_iterator(std::string(RENO_SOURCE_DIR) + "/configs")) {
    if (item.path().extension() != ".toml") continue;
    INFO(item.path().string());
    std::vector<std::string> arguments = {item.path().string(), "--dry-run", "--set", "run.device=cpu"};
    if (const auto file = prompts.find(item.path().stem().string()); file != prompts.end())
      arguments.insert(arguments.end(), {"--set", "run.prompts=" + file->second});
    const Outcome outcome = reno_run(arguments);
    INFO(outcome.errors);
    CHECK(outcome.status == 0);
    CHECK_THAT(outcome.output, Catch::Contains("[generator]"));
    CHECK_THAT(outcome.errors, !Catch::Contains("no variant"));
    ++complete;
  }
  CHECK(complete == 11);
}

TEST_CASE("the published refinements are complete with their base models", "[cli]") {
  if (!HollowModels::possible()) return;  // which the test above says
  const HollowModels published;
  // Stable Diffusion 2.1 has the shapes of the model that was distilled from it.
  for (const auto& [name, base] : {std::pair("sd-turbo", "stabilityai/sd-turbo"),
                                   std::pair("sdxl-turbo", "stabilityai/stable-diffusion-xl-base-1.0"),
                                   std::pair("hyper-sd", "stabilityai/stable-diffusion-xl-base-1.0")}) {
    INFO(name);
    const Outcome outcome = reno_run({std::string("configs/") + name + ".toml", "--dry-run", "--set",
                                      "run.device=cpu", "--set", std::string("refine.generator=") + base});
    INFO(outcome.errors);
    CHECK(outcome.status == 0);
    CHECK_THAT(outcome.output, Catch::Contains("steps = 50"));
  }
}
