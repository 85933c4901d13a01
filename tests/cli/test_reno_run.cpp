// reno-run as a user meets it: exit status, messages, files.
#include <catch2/catch.hpp>
#include <chrono>
#include <csignal>
#include <nlohmann/json.hpp>
#include <thread>

#include "support/program.hpp"

namespace {

using namespace reno::test;
using Catch::Contains;
namespace fs = std::filesystem;

const std::string quickstart = std::string(RENO_SOURCE_DIR) + "/configs/quickstart.toml";

std::string set_output(const TemporaryFolder& folder) {
  return "run.output=" + (folder.path() / "out").string();
}

/// Writes an experiment file and runs it.
Outcome run_text(const std::string& text, std::vector<std::string> more = {}) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "run.toml";
  std::ofstream(file) << text;
  more.insert(more.begin(), {file.string(), "--set", set_output(folder)});
  return reno_run(more);
}

const std::string shapes = std::string(RENO_SOURCE_DIR) + "/examples/shapes";
const std::string generator = "[generator]\nplugin = \"sd-turbo\"\nweights = \"" + shapes + "/generator\"\n";
const std::string reward = "[[reward]]\nplugin = \"clip-score\"\nweights = \"" + shapes + "/rewards/clip\"\n";

TEST_CASE("help, version, list and describe", "[cli]") {
  CHECK_THAT(reno_run({"--help"}).output, Contains("reno-run configs/quickstart.toml"));
  CHECK_THAT(reno_run({"--version"}).output, Contains("reno-run 0.") && Contains("libtorch 2."));
  const Outcome list = reno_run({"--list"});
  CHECK(list.status == 0);
  for (const char* name : {"sd-turbo", "clip-score", "pickscore", "sgd", "adam", "lbfgs"})
    CHECK_THAT(list.output, Contains(name));
  CHECK_THAT(reno_run({"--describe", "sd-turbo"}).output,
             Contains("weights") && Contains("stabilityai/sd-turbo"));
  const Outcome unknown = reno_run({"--describe", "sd-trubo"});
  CHECK(unknown.status == 2);
  CHECK_THAT(unknown.errors, Contains("did you mean 'sd-turbo'?"));
}

TEST_CASE("a refused plugin is listed with its reason and hides nothing", "[cli]") {
  const std::string folder = std::string(RENO_BUILD_DIR) + "/tests/fixtures/plugins/wrong-api-version";
  const Outcome list = reno_run({"--list", "--plugin-dir", folder});
  CHECK(list.status == 0);
  CHECK_THAT(list.output, Contains("sd-turbo") && Contains("plugin API version 999"));
  CHECK(reno_run({"--list", "--plugin-dir", "no/such/folder"}).status == 2);
}

TEST_CASE("bad usage and bad experiments end with status 2 and say where", "[cli]") {
  CHECK(reno_run({}).status == 2);
  CHECK(reno_run({"a.toml", "b.toml"}).status == 2);
  const Outcome missing = reno_run({"no-such.toml"});
  CHECK(missing.status == 2);
  CHECK_THAT(missing.errors, Contains("no-such.toml"));

  const Outcome two = run_text("[run]\niteratons = 5\nseed = -1\n" + generator + reward);
  CHECK(two.status == 2);
  CHECK_THAT(two.errors, Contains("run.toml:2:1: unknown key 'iteratons', did you mean 'iterations'?") &&
                             Contains("run.toml:3:8: run.seed = -1 is outside"));
  const Outcome unknown = run_text(generator + "[[reward]]\nplugin = \"clp-score\"\n");
  CHECK(unknown.status == 2);
  CHECK_THAT(unknown.errors,
             Contains("run.toml:5:10: unknown reward 'clp-score', did you mean 'clip-score'?"));
  const Outcome malformed = run_text("[run\n");
  CHECK(malformed.status == 2);
  CHECK_THAT(malformed.errors, Contains("run.toml:1:"));
}

TEST_CASE("weights that are not there end with status 3 and say what to do", "[cli]") {
  const Outcome outcome =
      run_text("[generator]\nplugin = \"sd-turbo\"\nweights = \"nobody/nothing\"\n" + reward);
  CHECK(outcome.status == 3);
  CHECK_THAT(outcome.errors, Contains("generator 'sd-turbo'") && Contains("nobody/nothing"));
}

TEST_CASE("a device that is not there ends with status 2", "[cli]") {
  const Outcome outcome = run_text("[run]\ndevice = \"cuda:97\"\n" + generator + reward);
  CHECK(outcome.status == 2);
  CHECK_THAT(outcome.errors, Contains("run.device = \"cuda:97\" is not available: "));
}

TEST_CASE("a graph where there is no GPU ends with status 2", "[cli]") {
  for (const auto& more : {std::vector<std::string>{}, {"--dry-run"}}) {
    const Outcome outcome =
        run_text("[run]\ndevice = \"cpu\"\ncuda_graph = true\n" + generator + reward, more);
    CHECK(outcome.status == 2);
    CHECK_THAT(outcome.errors, Contains("run.cuda_graph needs a GPU, and this run is on cpu"));
  }
  // Whoever queues it need not have the GPU.
  CHECK(run_text("[run]\ncuda_graph = true\n" + generator + reward, {"--launcher", "slurm", "--dry-run"})
            .status == 0);
}

TEST_CASE("the log says which of reno's own kernels are used, and they can be switched off", "[cli]") {
  const TemporaryFolder folder;
  const auto total = [&](const char* kernels, const std::string& expected) {
    const auto output = folder.path() / kernels;
    const Outcome outcome =
        reno_run({quickstart, "--set", "run.iterations=2", "--set", "run.device=cpu", "--set",
                  fmt::format("run.kernels={}", kernels), "--output", output.string()});
    REQUIRE(outcome.status == 0);
    CHECK_THAT(outcome.errors, Contains(expected));
    const auto results = nlohmann::json::parse(read_file(output / "results.json"));
    return results["mean"]["total"]["best"].get<double>();
  };
  const double with = total("true", "kernels: reno's own for group norm with SiLU");
  const double without = total("false", "kernels: LibTorch's only, since run.kernels = false");
  CHECK(with == Approx(without).epsilon(1e-4));
}

TEST_CASE("an output directory that cannot be written ends with status 2", "[cli]") {
  const Outcome outcome = run_text(generator + reward, {"--set", "run.output=/proc/reno"});
  CHECK(outcome.status == 2);
  CHECK_THAT(outcome.errors, Contains("/proc/reno: cannot be written to"));
}

TEST_CASE("a dry run prints the resolved experiment and the memory, and writes nothing", "[cli]") {
  const TemporaryFolder folder;
  const Outcome outcome = reno_run({quickstart, "--dry-run", "--set", set_output(folder)});
  CHECK(outcome.status == 0);
  CHECK_THAT(outcome.output, Contains("[generator]") && Contains("grad_clip = 0.1") &&
                                 Contains("expected memory for tensors: "));
  CHECK_FALSE(fs::exists(folder.path() / "out"));
}

TEST_CASE("every ready experiment is in order; what it lacks at most is what users bring", "[cli]") {
  int complete = 0;
  for (const auto& item : fs::recursive_directory_iterator(std::string(RENO_SOURCE_DIR) + "/configs")) {
    if (item.path().extension() != ".toml") continue;
    INFO(item.path().string());
    const Outcome outcome = reno_run({item.path().string(), "--dry-run"});
    if (outcome.status != 0)
      CHECK_THAT(outcome.errors, Contains("is not a file; looked for") || Contains("no weights found for"));
    complete += outcome.status == 0 ? 1 : 0;
  }
  CHECK(complete > 0);
}

TEST_CASE("the resolved experiment of a run is itself an experiment, wherever it is run from", "[cli]") {
  const TemporaryFolder folder;
  REQUIRE(reno_run({quickstart, "--set", "run.iterations=2", "--set", "run.device=cpu", "--output",
                    (folder.path() / "first").string()})
              .status == 0);
  const auto resolved = (folder.path() / "first" / "experiment.toml").string();
  const Outcome again = Program({resolved, "--output", "second"}, folder.path()).wait();
  INFO(again.errors);
  REQUIRE(again.status == 0);
  CHECK(read_file(folder.path() / "first" / "results.jsonl") ==
        read_file(folder.path() / "second" / "results.jsonl"));
}

TEST_CASE("the quickstart improves every prompt", "[cli]") {
  const TemporaryFolder folder;
  const Outcome outcome = reno_run({quickstart, "--set", "run.iterations=8", "--set", set_output(folder)});
  INFO(outcome.errors);
  REQUIRE(outcome.status == 0);
  CHECK_THAT(outcome.output, Contains("clip-score") && Contains("comparison.png") && Contains("report.html"));
  CHECK_THAT(outcome.errors, Contains("iteration 8/8") && !Contains("\033"));  // a log has plain lines
  std::ifstream lines(folder.path() / "out" / "results.jsonl");
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    const auto result = nlohmann::json::parse(line);
    CHECK(result["best"]["total"] < result["initial"]["total"]);
  }
  CHECK(count == 6);
}

TEST_CASE("a reward from TorchScript is optimised from the experiment alone", "[cli]") {
  const TemporaryFolder folder;
  const std::string example = std::string(RENO_SOURCE_DIR) + "/examples/torchscript-reward/symmetric.toml";
  const Outcome outcome = reno_run({example, "--set", "run.iterations=6", "--set", set_output(folder)});
  INFO(outcome.errors);
  REQUIRE(outcome.status == 0);
  const auto results = nlohmann::json::parse(read_file(folder.path() / "out" / "results.json"));
  const auto symmetry = results["mean"]["scores"]["symmetry"];
  CHECK(symmetry["best"] > symmetry["initial"]);

  const Outcome rehearsal = reno_run({example, "--dry-run", "--set", set_output(folder)});
  CHECK(rehearsal.status == 0);
  CHECK_THAT(rehearsal.errors, Contains("a dry run does not run the program"));
}

TEST_CASE("all five rewards run together, and any one can be left out by hand", "[cli]") {
  const TemporaryFolder folder;
  const std::string all = std::string(RENO_SOURCE_DIR) + "/configs/shapes-all-rewards.toml";
  const auto run = [&](const std::string& name, std::vector<std::string> more) {
    const auto output = folder.path() / name;
    more.insert(more.begin(),
                {all, "--set", "run.iterations=4", "--set", "run.device=cpu", "--output", output.string()});
    const Outcome outcome = reno_run(more);
    INFO(outcome.errors);
    REQUIRE(outcome.status == 0);
    return nlohmann::json::parse(read_file(output / "results.json"))["mean"];
  };
  const auto whole = run("all", {});
  CHECK(whole["total"]["best"] < whole["total"]["initial"]);
  struct Term {
    std::string name;
    double weight, ceiling;
  };
  for (const auto& [name, weight, ceiling] :
       {Term{"hpsv2", 5.0, 1.0}, Term{"imagereward", 1.0, 2.0}, Term{"clip-score", 0.01, 100.0},
        Term{"pickscore", 0.05, 30.0}}) {
    INFO(name);
    const auto without = run(name, {"--set", "reward." + name + ".weight=0"});
    CHECK(without["scores"].size() == 5);  // still measured
    CHECK(without["scores"][name]["initial"] == whole["scores"][name]["initial"]);
    const double share = weight * (ceiling - whole["scores"][name]["initial"].get<double>());
    CHECK(without["total"]["initial"].get<double>() ==
          Approx(whole["total"]["initial"].get<double>() - share).epsilon(1e-5));
    CHECK(without["total"]["best"] < without["total"]["initial"]);
  }
}

TEST_CASE("a reward without gradient is watched or sampled for, and otherwise refused", "[cli]") {
  const TemporaryFolder folder;
  const auto out = folder.path() / "out";
  const std::string judged = "[run]\nprompt = \"a red circle\"\niterations = 3\n" + generator + reward +
                             "[[reward]]\nplugin = \"shapes-judge\"\n";
  const auto file = folder.write("judged.toml", judged).string();
  const auto run = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {file, "--output", out.string(), "--overwrite"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return reno_run(arguments);
  };
  const Outcome refused = run({"--set", "reward.shapes-judge.weight=1"});
  CHECK(refused.status == 2);
  CHECK_THAT(refused.errors, Contains("reward 'shapes-judge' has no gradient: give it weight = 0"));
  for (const auto& settings : std::vector<std::vector<std::string>>{
           {}, {"--set", "run.mode=best-of-n", "--set", "reward.shapes-judge.weight=1"}}) {
    const Outcome outcome = run(settings);
    INFO(outcome.errors);
    CHECK(outcome.status == 0);
    CHECK(nlohmann::json::parse(read_file(out / "results.json"))["mean"]["scores"].contains("shapes-judge"));
  }
}

TEST_CASE("a prompt that no file name could hold", "[cli]") {
  const TemporaryFolder folder;
  std::string prompt = "../../a/b\n🙂";
  while (prompt.size() < 10000) prompt += " red circle";
  std::ofstream(folder.path() / "run.toml") << "[run]\niterations = 1\n" + generator + reward;
  const Outcome outcome =
      Program({"run.toml", "--set", "run.prompt=" + nlohmann::json(prompt).dump()}, folder.path()).wait();
  INFO(outcome.errors);
  CHECK(outcome.status == 0);
  CHECK_THAT(outcome.errors, Contains("truncated"));
  int count = 0;
  for (const auto& item : fs::directory_iterator(folder.path() / "outputs")) {
    CHECK(fs::exists(item.path() / "best_image.png"));
    ++count;
  }
  CHECK(count == 1);
  CHECK(run_text("[run]\nprompt = \"\"\niterations = 1\n" + generator + reward).status == 0);
}

TEST_CASE("SIGINT and SIGTERM finish the iteration, save and end with status 130", "[cli]") {
  for (const int number : {SIGINT, SIGTERM}) {
    const TemporaryFolder folder;
    Program program({quickstart, "--set", "run.iterations=100000", "--set", set_output(folder)});
    const auto metrics = folder.path() / "out" / "metrics.jsonl";
    for (int i = 0; i < 600 && (!fs::exists(metrics) || fs::file_size(metrics) == 0); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    program.signal(number);
    const Outcome outcome = program.wait();
    CHECK(outcome.status == 130);
    CHECK_THAT(outcome.errors, Contains("interrupted"));
    CHECK(fs::exists(folder.path() / "out" / "00005" / "best_noise.safetensors"));
    CHECK(fs::exists(folder.path() / "out" / "00000" / "best_image.png"));
  }
}

TEST_CASE("an output directory in use by a live run is refused", "[cli]") {
  const TemporaryFolder folder;
  Program program({quickstart, "--set", "run.iterations=100000", "--set", set_output(folder)});
  const auto metrics = folder.path() / "out" / "metrics.jsonl";
  for (int i = 0; i < 600 && !fs::exists(metrics); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  const Outcome second = reno_run({quickstart, "--set", set_output(folder)});
  CHECK(second.status == 2);
  CHECK_THAT(second.errors, Contains("is in use by another run (process "));
  program.signal(SIGTERM);
  program.wait();
}

}  // namespace
