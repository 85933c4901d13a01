#include <catch2/catch.hpp>
#include <fstream>

#include "experiment/fake_registry.hpp"
#include "reno/experiment/inputs.hpp"
#include "reno/experiment/toml.hpp"
#include "reno/experiment/write_toml.hpp"
#include "support/temporary_folder.hpp"

using namespace reno;
namespace fs = std::filesystem;

TEST_CASE("Inputs that are there become absolute, and the resolved file runs from anywhere") {
  const test::TemporaryFolder folder;
  const Registry registry = test::fake_registry();
  fs::create_directories(folder.path() / "configs");
  fs::create_directories(folder.path() / "weights" / "vae");
  std::ofstream(folder.path() / "configs" / "prompts.txt") << "a\n";
  const std::string text =
      "[run]\ntask = \"example-prompts\"\nprompts = \"prompts.txt\"\noutput = \"outputs/x\"\n"
      "[generator]\nplugin = \"sd-turbo\"\nweights = \"stabilityai/sd-turbo\"\nvae = \"../weights/vae\"\n"
      "[[reward]]\nplugin = \"hpsv2\"\n[noise]\ninit = \"not-there.safetensors\"\n";
  const Experiment experiment =
      with_absolute_inputs(parse_experiment(text, folder.path() / "configs" / "run.toml", registry));
  CHECK(experiment.run.prompts == folder.path() / "configs" / "prompts.txt");
  CHECK(experiment.run.output == "outputs/x");
  CHECK(experiment.noise.init == "not-there.safetensors");
  const std::string written = write_toml(experiment);
  CHECK_THAT(written, Catch::Contains("weights = \"stabilityai/sd-turbo\"") &&
                          Catch::Contains("vae = \"" + (folder.path() / "weights" / "vae").string() + "\""));
  const Experiment again =
      parse_experiment(written, folder.path() / "elsewhere" / "experiment.toml", registry);
  CHECK(again == experiment);
  CHECK(with_absolute_inputs(again) == experiment);
}
