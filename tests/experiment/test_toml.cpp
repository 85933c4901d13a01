#include <ATen/ATen.h>

#include <catch2/catch.hpp>
#include <fstream>

#include "experiment/fake_registry.hpp"
#include "reno/experiment/toml.hpp"

using namespace reno;

namespace {

const Registry registry = test::fake_registry();

/// A valid file; tests put their lines above or below it.
const std::string rest = "[generator]\nplugin = \"sd-turbo\"\n[[reward]]\nplugin = \"hpsv2\"\n";

Experiment parse(const std::string& text, const std::vector<std::string>& overrides = {}) {
  return parse_experiment(text, "run.toml", registry, overrides);
}

/// What parsing complains about; "" when it does not.
std::string complaint(const std::string& text, const std::vector<std::string>& overrides = {}) {
  try {
    parse(text, overrides);
  } catch (const ConfigurationError& error) {
    return error.what();
  }
  return "";
}

std::string set(const std::string& override_text) { return complaint(rest, {override_text}); }

}  // namespace

TEST_CASE("The smallest experiment has all defaults") {
  const Experiment experiment = parse(rest);
  CHECK(experiment.run.task == Task::single);
  CHECK(experiment.run.prompt == "A red dog and a green cat");
  CHECK(experiment.run.mode == Mode::optimize);
  CHECK(experiment.run.iterations == 50);
  CHECK(experiment.run.seed == 0);
  CHECK(experiment.run.batch == 1);
  CHECK(experiment.run.device == "auto");
  CHECK(experiment.run.dtype == c10::kFloat);
  CHECK(experiment.run.memory == MemoryMode::balanced);
  CHECK(experiment.run.output == "outputs/A red dog and a green cat");
  CHECK_FALSE(experiment.run.save_all_images);
  CHECK(experiment.generator.plugin == "sd-turbo");
  REQUIRE(experiment.rewards.size() == 1);
  CHECK(experiment.rewards[0].plugin == "hpsv2");
  CHECK(experiment.rewards[0].name == "hpsv2");
  CHECK(experiment.rewards[0].weight == 5.0);
  CHECK(experiment.optimizer.plugin == "sgd");
  CHECK(experiment.optimizer.options.as<test::FakeOptimizer::Options>().lr == 5.0);
  CHECK(experiment.regularization.weight == 0.01);
  CHECK_FALSE(experiment.noise.init.has_value());
  CHECK(experiment.file == "run.toml");
  CHECK(experiment.search_paths().front() == std::filesystem::current_path());
}

TEST_CASE("Every key of a file arrives in its member") {
  const Experiment experiment = parse(R"(
    [run]
    task = "example-prompts"
    prompts = "prompts.txt"
    mode = "best-of-n"
    iterations = 7
    seed = 9223372036854775807
    batch = 3
    device = "cuda:1"
    dtype = "bfloat16"
    memory = "lean"
    output = "there"
    save_all_images = true
    [generator]
    plugin = "sd-turbo"
    weights = "w"
    vae = "v"
    width = 64
    tiled = true
    [[reward]]
    plugin = "hpsv2"
    name = "first"
    weight = 2                 # an integer where a number is expected
    temperature = 3
    precision = "half"
    layers = [0, 11]
    scales = [1, 0.5]
    labels = []
    [[reward]]
    plugin = "hpsv2"
    name = "second"
    [optimizer]
    plugin = "adam"
    lr = 1e-3
    grad_clip = 2
    [regularization]
    weight = 0
    [noise]
    init = "noise.safetensors"
  )");
  CHECK(experiment.run.task == Task::example_prompts);
  CHECK(experiment.run.prompts == "prompts.txt");
  CHECK(experiment.run.mode == Mode::best_of_n);
  CHECK(experiment.run.iterations == 7);
  CHECK(experiment.run.seed == std::numeric_limits<std::int64_t>::max());
  CHECK(experiment.run.batch == 3);
  CHECK(experiment.run.device == "cuda:1");
  CHECK(experiment.run.dtype == c10::kBFloat16);
  CHECK(experiment.run.memory == MemoryMode::lean);
  CHECK(experiment.run.output == "there");
  CHECK(experiment.run.save_all_images);
  const auto& generator = experiment.generator.options.as<test::FakeGenerator::Options>();
  CHECK(generator.weights == "w");
  CHECK(generator.vae == "v");
  CHECK(generator.width == 64);
  CHECK(generator.tiled);
  REQUIRE(experiment.rewards.size() == 2);
  CHECK(experiment.rewards[0].name == "first");
  CHECK(experiment.rewards[0].weight == 2.0);
  const auto& reward = experiment.rewards[0].options.as<test::FakeReward<5>::Options>();
  CHECK(reward.temperature == 3.0);
  CHECK(reward.precision == "half");
  CHECK(reward.layers == std::vector<std::int64_t>{0, 11});
  CHECK(reward.scales == std::vector<double>{1.0, 0.5});
  CHECK(reward.labels.empty());
  CHECK(experiment.rewards[1].options.as<test::FakeReward<5>::Options>().temperature == 1.0);
  const auto& optimizer = experiment.optimizer.options.as<test::FakeOptimizer::Options>();
  CHECK(experiment.optimizer.plugin == "adam");
  CHECK(optimizer.lr == 1e-3);
  CHECK(optimizer.grad_clip == 2.0);
  CHECK(experiment.regularization.weight == 0.0);
  CHECK(experiment.noise.init == "noise.safetensors");
}

TEST_CASE("A prompt may be any text") {
  const std::vector<std::pair<std::string, std::string>> prompts = {
      {"\"\"", ""},
      {R"("two\nlines")", "two\nlines"},
      {"\"\"\"\ntwo\nlines\"\"\"", "two\nlines"},
      {"'a \"quoted\" cat'", "a \"quoted\" cat"},
      {"\"a 🐱 in Zürich\"", "a 🐱 in Zürich"}};
  for (const auto& [toml, prompt] : prompts) {
    CHECK(parse("[run]\nprompt = " + toml + "\n" + rest).run.prompt == prompt);
  }
}

TEST_CASE("Line ends and a byte-order mark of other systems are tolerated") {
  CHECK(parse("\xEF\xBB\xBF[run]\r\nseed = 3\r\n" + rest).run.seed == 3);
}

TEST_CASE("Without an output the results' directory is named after the prompt or the file") {
  CHECK(parse("[run]\nprompt = \"a/b\"\n" + rest).run.output == "outputs/a_b");
  CHECK(parse("[run]\nprompt = \"\"\n" + rest).run.output == "outputs/empty-prompt");
  CHECK(parse("[run]\ntask = \"example-prompts\"\nprompts = \"p.txt\"\n" + rest).run.output == "outputs/run");
}

TEST_CASE("Wrong values are named with their position") {
  const auto [line, expected] = GENERATE(table<std::string, std::string>(
      {{"iterations = 0", "run.toml:2:14: run.iterations = 0 is outside [1, inf)"},
       {"seed = -1", "run.toml:2:8: run.seed = -1 is outside [0, inf)"},
       {"seed = \"x\"", "run.toml:2:8: run.seed is a string, expected an integer"},
       {"seed = 1.0", "run.toml:2:8: run.seed is a float, expected an integer"},
       {"seed = true", "run.toml:2:8: run.seed is a boolean, expected an integer"},
       {"seed = [1]", "run.toml:2:8: run.seed is an array, expected an integer"},
       {"seed = {}", "run.toml:2:8: run.seed is a table, expected an integer"},
       {"prompt = 1", "run.toml:2:10: run.prompt is an integer, expected a string"},
       {"prompt = 2020-01-01", "run.toml:2:10: run.prompt is a date, expected a string"},
       {"prompt = \"a\\u0000\"", "run.toml:2:10: run.prompt contains a NUL character"},
       {"save_all_images = 1", "run.toml:2:19: run.save_all_images is an integer, expected true or false"},
       {"mode = \"optimise\"",
        "run.toml:2:8: run.mode = \"optimise\" is none of optimize, no-optim, best-of-n; did you mean "
        "'optimize'?"},
       {"dtype = \"int8\"",
        "run.toml:2:9: run.dtype = \"int8\" is none of float32, float16, bfloat16, float64"},
       {"device = \"gpu\"", "run.toml:2:10: run.device = \"gpu\" is none of auto, cpu, cuda, cuda:N"},
       {"device = \"cuda:x\"", "run.toml:2:10: run.device = \"cuda:x\" is none of auto, cpu, cuda, cuda:N"},
       {"task = \"example-prompts\"", "run.toml:2:8: this task needs run.prompts, the file of its prompts"},
       {"prompts = \"p\"",
        "run.toml:2:11: run.prompts is not read by run.task = \"single\"; do you mean task = "
        "\"example-prompts\"?"},
       {"benchmark_reward = \"hps\"",
        "run.toml:2:20: run.benchmark_reward = \"hps\" is neither total nor the name of a [[reward]]"},
       {"cuda_graph = true\nmemory = \"lean\"",
        "run.toml:2:14: run.cuda_graph replays an iteration with all weights where they lie, and run.memory "
        "= \"lean\" moves them; use memory = \"balanced\""},
       {"cuda_graph = true\nprofile = true",
        "run.toml:2:14: run.cuda_graph replays an iteration as one piece, and run.profile times its stages; "
        "use one of them"},
       {"sed = 1", "run.toml:2:1: unknown key 'sed', did you mean 'seed'?"},
       {"\"se\\ned\" = 1", "run.toml:2:1: unknown key 'se ed', did you mean 'seed'?"}}));
  CHECK(complaint("[run]\n" + line + "\n" + rest) == expected);
}

TEST_CASE("A key that resembles none is answered with those there are") {
  CHECK_THAT(complaint("[run]\nwieght = 1\n" + rest),
             Catch::StartsWith("run.toml:2:1: unknown key 'wieght'; [run] has: task, prompt, prompts, "));
}

TEST_CASE("Draws that leave nothing to the optimisation are refused") {
  CHECK(complaint("[run]\niterations = 8\n[noise]\ndraws = 8\n" + rest) ==
        "run.toml:4:9: noise.draws = 8 leaves none of the 8 iterations to the optimisation; run.mode = "
        "\"best-of-n\" does nothing but draw");
  CHECK(parse("[run]\niterations = 8\n[noise]\ndraws = 7\n" + rest).noise.draws == 7);
  CHECK(parse("[run]\nmode = \"best-of-n\"\niterations = 8\n[noise]\ndraws = 8\n" + rest).noise.draws == 8);
}

TEST_CASE("Wrong options of plugins are named with their position") {
  const auto [line, expected] = GENERATE(table<std::string, std::string>(
      {{"weight = -1", "run.toml:5:10: reward.weight = -1 is outside [0, inf)"},
       {"weight = nan", "run.toml:5:10: reward.weight = nan is not finite"},
       {"weight = inf", "run.toml:5:10: reward.weight = inf is not finite"},
       {"wieght = 1", "run.toml:5:1: unknown key 'wieght', did you mean 'weight'?"},
       {"name = \"\"", "run.toml:5:8: reward.name is empty"},
       {"temperature = 100.5", "run.toml:5:15: reward.temperature = 100.5 is outside [0, 100]"},
       {"precision = \"none\"", "run.toml:5:13: reward.precision = \"none\" is none of full, half"},
       {"layers = 1", "run.toml:5:10: reward.layers is an integer, expected an array of integers"},
       {"layers = [1, 12]", "run.toml:5:14: reward.layers[1] = 12 is outside [0, 11]"},
       {"layers = [1, 2.5]", "run.toml:5:14: reward.layers[1] is a float, expected an integer"},
       {"scales = [nan]", "run.toml:5:11: reward.scales[0] = nan is not finite"},
       {"labels = [1]", "run.toml:5:11: reward.labels[0] is an integer, expected a string"}}));
  CHECK(complaint(rest + line) == expected);
  CHECK(complaint(rest + "[optimizer]\ngrad_clip = \"no\"") ==
        "run.toml:6:13: optimizer.grad_clip is a string, expected a number");
}

TEST_CASE("An integer that the member cannot hold is refused") {
  CHECK(complaint("[generator]\nplugin = \"sd-turbo\"\nwidth = 4294967304\n[[reward]]\nplugin = \"hpsv2\"") ==
        "run.toml:3:9: generator.width = 4294967304 is outside [8, 4096]");
}

TEST_CASE("Sections and plugins that do not exist are named") {
  CHECK(complaint("[runn]\n" + rest) == "run.toml:1:2: unknown section [runn], did you mean [run]?");
  CHECK(complaint("[something]\n" + rest) ==
        "run.toml:1:2: unknown section [something]; have: run, generator, reward, optimizer, regularization, "
        "noise, refine, sweep, launcher");
  CHECK(complaint("seed = 1\n" + rest) ==
        "run.toml:1:1: unknown key 'seed' outside of any section; it belongs to [run]");
  CHECK(complaint("run = 1\n" + rest) == "run.toml:1:7: run is an integer, expected the section [run]");
  CHECK(complaint("reward = 1\n[generator]\nplugin = \"sd-turbo\"") ==
        "run.toml:1:10: reward is an integer, expected tables: write [[reward]] above each");
  CHECK(complaint("[reward]\nplugin = \"hpsv2\"\n[generator]\nplugin = \"sd-turbo\"") ==
        "run.toml:1:1: reward is a table, expected tables: write [[reward]] above each");
  CHECK(
      complaint("[generator]\n[[reward]]\nplugin = \"clp\"\nwieght = 1") ==
      "run.toml:1:1: generator.plugin is missing, expected the name of a generator; have: sd-turbo\n"
      "run.toml:3:10: unknown reward 'clp', did you mean 'clip-score'?; have: aesthetic, clip-score, hpsv2");
  CHECK(complaint("[[reward]]\nplugin = 1") ==
        "run.toml:2:10: reward.plugin is an integer, expected the name of a reward; have: aesthetic, "
        "clip-score, hpsv2\n"
        "run.toml: generator.plugin is missing, expected the name of a generator; have: sd-turbo");
  CHECK(complaint(rest + "[optimizer]\nplugin = \"sdg\"") ==
        "run.toml:6:10: unknown optimizer 'sdg', did you mean 'sgd'?; have: adam, sgd");
}

TEST_CASE("An objective needs a reward with weight") {
  const std::string generator = "[generator]\nplugin = \"sd-turbo\"\n";
  CHECK(complaint(generator) == "run.toml: there is no [[reward]]: nothing to optimise");
  CHECK(complaint("reward = []\n" + generator) == "run.toml: there is no [[reward]]: nothing to optimise");
  CHECK(complaint(generator + "[run]\nmode = \"no-optim\"") == "");
  CHECK(complaint(generator +
                  "[[reward]]\nplugin = \"aesthetic\"\n[[reward]]\nplugin = \"hpsv2\"\nweight = 0") ==
        "run.toml:3:1: the weight of every reward is 0: nothing to optimise");
  CHECK(complaint(generator + "[[reward]]\nplugin = \"aesthetic\"\n[run]\nmode = \"no-optim\"") == "");
}

TEST_CASE("Rewards need names of their own") {
  CHECK(complaint(rest + "[[reward]]\nplugin = \"hpsv2\"") ==
        "run.toml:5:1: a second reward is named 'hpsv2'; give one of them a name = \"…\" of its own");
  CHECK(complaint(rest + "[[reward]]\nplugin = \"hpsv2\"\nname = \"other\"") == "");
}

TEST_CASE("All problems are reported together, in the order of the file") {
  CHECK(complaint("[run]\nseed = \"x\"\n[generator]\nplugin = \"sd-turbo\"\ntilde = 1\n[[reward]]\nplugin = "
                  "\"hpsv2\"\nweight = -1\n[nois]\n",
                  {"run.batch=0", "run.bach=1"}) ==
        "run.toml:2:8: run.seed is a string, expected an integer\n"
        "run.toml:5:1: unknown key 'tilde', did you mean 'tiled'?\n"
        "run.toml:8:10: reward.weight = -1 is outside [0, inf)\n"
        "run.toml:9:2: unknown section [nois], did you mean [noise]?\n"
        "--set run.batch=0: run.batch = 0 is outside [1, inf)\n"
        "--set run.bach=1: unknown key 'bach', did you mean 'batch'?");
}

TEST_CASE("What is not TOML is reported where it ends") {
  CHECK(complaint("[run]\nseed = 1\nseed = 2") ==
        "run.toml:3:8: Error while parsing key-value pair: cannot redefine existing integer 'seed'");
  CHECK(complaint("x = [1,\n") == "run.toml:1:9: Error while parsing array: encountered end-of-file");
  CHECK(complaint("[run]\nprompt = \"\xff\"") == "run.toml:2:10: Encountered invalid utf-8 sequence");
  CHECK(complaint(std::string(70'000, ' ')) ==
        "run.toml: is larger than 64 KiB, which no experiment file is");
  std::string deep = "x";
  while (deep.size() < 60'000) deep += ".x";
  CHECK_THAT(complaint("[" + deep + "]"), Catch::StartsWith("run.toml:1:2: unknown section [x]"));
}

TEST_CASE("Files that cannot be read are refused") {
  const auto read = [](const std::filesystem::path& file) { return read_experiment(file, registry); };
  CHECK_THROWS_WITH(read("/nonexistent/run.toml"),
                    "/nonexistent/run.toml: cannot be read: No such file or directory");
  CHECK_THROWS_WITH(read("/tmp"), "/tmp: is a directory, expected an experiment file");
  const auto file = std::filesystem::temp_directory_path() / "reno-test-experiment.toml";
  std::ofstream(file) << rest;
  const Experiment experiment = read(file);
  CHECK(experiment.file == file);
  CHECK(experiment.search_paths() == std::vector<std::filesystem::path>{file.parent_path(), "."});
  std::filesystem::remove(file);
}

TEST_CASE("Overrides stand above the file") {
  CHECK(parse("[run]\nseed = 1\n" + rest, {"run.seed=2", "run.seed=3"}).run.seed == 3);
  CHECK(parse("[run]\nseed = \"wrong\"\n" + rest, {"run.seed=2"}).run.seed == 2);
  CHECK(parse(rest, {" run.iterations = 10"}).run.iterations == 10);
  CHECK(parse(rest, {"noise.init=a b.safetensors"}).noise.init == "a b.safetensors");
  CHECK(parse(rest, {"reward.0.weight=3"}).rewards[0].weight == 3.0);
  CHECK(parse(rest, {"reward.hpsv2.weight=3"}).rewards[0].weight == 3.0);
  CHECK(parse(rest, {"reward.0.name=x", "reward.x.weight=4"}).rewards[0].weight == 4.0);
  CHECK(parse(rest, {"generator.weights=org/model"})
            .generator.options.as<test::FakeGenerator::Options>()
            .weights == "org/model");
  CHECK(parse("[[reward]]\nplugin = \"hpsv2\"", {"generator.plugin=sd-turbo"}).generator.plugin ==
        "sd-turbo");
  CHECK(
      parse(rest, {"reward.0.layers=[3, 4]"}).rewards[0].options.as<test::FakeReward<5>::Options>().layers ==
      std::vector<std::int64_t>{3, 4});
}

TEST_CASE("An override of a text needs no quotes") {
  const auto prompt = [](const std::string& value) {
    return parse(rest, {"run.prompt=" + value}).run.prompt;
  };
  CHECK(prompt("a red dog") == "a red dog");
  CHECK(prompt("\"a red dog\"") == "a red dog");
  CHECK(prompt("42") == "42");
  CHECK(prompt("nan") == "nan");
  CHECK(prompt("true") == "true");
  CHECK(prompt("[cat") == "[cat");
  CHECK(prompt("a = b") == "a = b");
  CHECK(prompt("") == "");
  CHECK(prompt("1\nseed = 3") == "1\nseed = 3");
  CHECK(prompt("{x = 1}") == "{x = 1}");
  CHECK(prompt("a \"cat\" \\ 🐱") == "a \"cat\" \\ 🐱");
}

TEST_CASE("Wrong overrides are named as they were typed") {
  const std::string form = ": expected section.key=value, for example run.iterations=10";
  for (const std::string text : {"run.seed", "seed=1", "run.=1", ".seed=1", "=1", "", "run..seed=1"}) {
    CHECK(set(text) == "--set " + text + form);
  }
  CHECK(set("run.iteratons=10") ==
        "--set run.iteratons=10: unknown key 'iteratons', did you mean 'iterations'?");
  CHECK(set("rnu.seed=1") == "--set rnu.seed=1: unknown section [rnu], did you mean [run]?");
  CHECK(set("run.seed=x") == "--set run.seed=x: run.seed is a string, expected an integer");
  CHECK(set("run.seed.x=1") == "--set run.seed.x=1: run.seed is a table, expected an integer");
  CHECK(complaint("[run]\nseed = 1\n" + rest, {"run.seed.x=1"}) ==
        "--set run.seed.x=1: seed is an integer, not a section");
  CHECK(set("reward.weight=1") ==
        "--set reward.weight=1: the file has 1 [[reward]]: name one as in reward.0.weight, or by its name");
  CHECK(set("reward.1.weight=1") ==
        "--set reward.1.weight=1: the file has 1 [[reward]]: name one as in reward.0.weight, or by its name");
  CHECK(set("reward.clip.weight=1") ==
        "--set reward.clip.weight=1: the file has 1 [[reward]]: name one as in reward.0.weight, or by its "
        "name");
  CHECK(set("reward.0.weight=-1") == "--set reward.0.weight=-1: reward.weight = -1 is outside [0, inf)");
  CHECK(set("generator.plugin=sd") ==
        "--set generator.plugin=sd: unknown generator 'sd', did you mean "
        "'sd-turbo'?; have: sd-turbo");
  CHECK(set("run.prompt=\xff") == "--set run.prompt=\xff: is not UTF-8");
}
