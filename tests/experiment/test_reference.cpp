#include <ATen/ATen.h>

#include <catch2/catch.hpp>

#include "experiment/fake_registry.hpp"
#include "reno/experiment/reference.hpp"

using namespace reno;
using Catch::Contains;

namespace {
const Registry registry = test::fake_registry();
}

TEST_CASE("The list names components by kind, and refused plugins with the reason") {
  const std::vector<PluginStatus> plugins = {{"good.so", "good", ""},
                                             {"bad.so", "", "bad.so: plugin refused: why"}};
  CHECK(list_text(registry, plugins) ==
        "generators:\n"
        "  sd-turbo  A generator. (built in)\n"
        "\n"
        "rewards:\n"
        "  aesthetic   A reward that is only measured. (built in)\n"
        "  clip-score  Another reward. (built in)\n"
        "  hpsv2       A reward. (built in)\n"
        "\n"
        "optimizers:\n"
        "  adam  Another optimizer. (built in)\n"
        "  sgd   An optimizer. (built in)\n"
        "\n"
        "refused plugins:\n"
        "  bad.so: plugin refused: why\n");
  CHECK(list_text(Registry{}, {}) == "generators:\n  none\n\nrewards:\n  none\n\noptimizers:\n  none\n");
}

TEST_CASE("A component's options are described as a table") {
  CHECK(describe_text(registry, "hpsv2") ==
        "reward hpsv2: A reward. (default weight 5)\n"
        "from built in\n"
        "\n"
        "  key          type                 default     meaning\n"
        "  temperature  number in [0, 100]   1.0         divides the logits\n"
        "  precision    full | half          \"full\"      of the tower\n"
        "  layers       integers in [0, 11]  [1, 2]      that are used\n"
        "  scales       numbers              []          of the image pyramid\n"
        "  labels       strings              [\"a\", \"b\"]  of a|b tests\n");
}

TEST_CASE("A section is described like a component") {
  CHECK_THAT(describe_text(registry, "regularization"),
             Contains("  weight  number in [0, inf)  0.01     of the"));
  CHECK_THAT(describe_text(registry, "reward"), Contains("  weight  number in [0, inf)  -        in the"));
  CHECK_THAT(describe_text(registry, "optimizer"), Contains("  plugin  string  \"sgd\""));
}

TEST_CASE("What does not exist cannot be described") {
  CHECK_THROWS_WITH(
      describe_text(registry, "hpsv"),
      "there is no component or section 'hpsv', did you mean 'hpsv2'?; have: run, generator, "
      "sd-turbo, reward, aesthetic, clip-score, hpsv2, optimizer, adam, sgd, regularization, noise, refine, "
      "sweep, launcher");
}

TEST_CASE("The reference has each section and each component") {
  const std::string text = reference_text(registry);
  for (const std::string title :
       {"# The experiment file", "## `[run]`", "## `[generator]`", "### generator `sd-turbo`",
        "## `[[reward]]`", "### reward `clip-score`", "## `[optimizer]`", "### optimizer `adam`",
        "## `[regularization]`", "## `[noise]`", "## `[refine]`", "## `[sweep]`", "## `[launcher]`"}) {
    CHECK_THAT(text, Contains("\n" + title + "\n") || Catch::StartsWith(title + "\n"));
  }
  CHECK_THAT(text, Contains("| `labels` | strings | `[\"a\", \"b\"]` | of a\\|b tests |\n"));
  CHECK_THAT(text, Contains("| `task` | single \\| example-prompts \\| t2i-compbench \\| geneval \\| "
                            "parti-prompts | `\"single\"` |"));
  CHECK_THAT(text, !Contains("built in"));
}
