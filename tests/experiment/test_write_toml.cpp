#include <ATen/ATen.h>

#include <catch2/catch.hpp>
#include <random>

#include "experiment/fake_registry.hpp"
#include "reno/experiment/toml.hpp"
#include "reno/experiment/write_toml.hpp"

using namespace reno;

namespace {

const Registry registry = test::fake_registry();

Experiment parse(const std::string& text, const std::vector<std::string>& overrides = {}) {
  return parse_experiment(text, "run.toml", registry, overrides);
}

const std::string smallest = "[generator]\nplugin = \"sd-turbo\"\n[[reward]]\nplugin = \"hpsv2\"\n";

}  // namespace

TEST_CASE("The resolved experiment has every key in the order of the description") {
  CHECK(write_toml(parse(smallest)) == R"([run]
task = "single"
prompt = "A red dog and a green cat"
# prompts is unset
# samples is unset
benchmark_reward = "total"
mode = "optimize"
iterations = 50
seed = 0
batch = 1
device = "auto"
dtype = "float32"
memory = "balanced"
output = "outputs/A red dog and a green cat"
save_all_images = false
tensorboard = false
profile = false
kernels = true
cuda_graph = false
checkpoint_seconds = 30.0

[generator]
plugin = "sd-turbo"
weights = "stabilityai/sd-turbo"
# vae is unset
width = 512
tiled = false

[[reward]]
plugin = "hpsv2"
name = "hpsv2"
weight = 5.0
temperature = 1.0
precision = "full"
layers = [1, 2]
scales = []
labels = ["a", "b"]

[optimizer]
plugin = "sgd"
lr = 5.0
grad_clip = 0.1

[regularization]
weight = 0.01

[noise]
as_networks = false
# init is unset
draws = 0

[refine]
# generator is unset
steps = 0
guidance = 0.0
)");
}

TEST_CASE("The resolved experiment reads back as the same") {
  const Experiment experiment = parse(R"(
    [run]
    task = "example-prompts"
    prompts = "p q.txt"
    mode = "best-of-n"
    seed = 9223372036854775807
    dtype = "float16"
    memory = "fast"
    save_all_images = true
    [generator]
    plugin = "sd-turbo"
    vae = "C:\\models"
    [[reward]]
    plugin = "clip-score"
    scales = [0.1, 1e-300, 1e300, 5, -0.0, 3.141592653589793]
    labels = ["", "a\nb", "'\"\\", "🐱"]
    [[reward]]
    plugin = "clip-score"
    name = "a.b c"
    weight = 0
    [optimizer]
    plugin = "adam"
    lr = 0.30000000000000004
    [noise]
    init = "n"
    [refine]
    generator = "larger/model"
    steps = 50
    guidance = 7.5
  )");
  const std::string text = write_toml(experiment);
  const Experiment again = parse(text);
  CHECK(again == experiment);
  CHECK(write_toml(again) == text);
  CHECK_FALSE(parse(text, {"run.batch=2"}) == experiment);
  CHECK_FALSE(parse(text, {"generator.vae=other"}) == experiment);
  CHECK_FALSE(parse(text, {"reward.1.weight=2"}) == experiment);
  CHECK_FALSE(parse(text, {"refine.guidance=5"}) == experiment);
}

TEST_CASE("Any prompt survives the resolved experiment") {
  std::mt19937 random(1);
  const std::vector<std::string> pieces = {
      "a",  " ",  "\n",  "\r",     "\t",     "\"",     "'",          "\"\"\"", "'''", "\\", "#",
      "é",  "🐱",  "\b",  "\x01",   "\x7f",   "\\u0",   "=",          "[",      "]",   "{",  "}",
      "\v", "\f", "￿", "\u0085", "\u2028", "\u200d", "\U0010ffff", "-",      ".",   "0"};
  Experiment experiment = parse(smallest);
  for (int round = 0; round < 500; ++round) {
    experiment.run.prompt.clear();
    const auto length = random() % 8;
    for (std::size_t i = 0; i < length; ++i) experiment.run.prompt += pieces[random() % pieces.size()];
    CAPTURE(experiment.run.prompt);
    REQUIRE(parse(write_toml(experiment)) == experiment);
  }
}

TEST_CASE("A copied experiment is independent of the original") {
  const Experiment original = parse(smallest);
  Experiment copy = original;
  copy.generator.options.fields()[0].set(std::string("other"));
  CHECK(copy.generator.options.as<test::FakeGenerator::Options>().weights == "other");
  CHECK(original.generator.options.as<test::FakeGenerator::Options>().weights == "stabilityai/sd-turbo");
}
