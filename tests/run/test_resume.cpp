// A run that was stopped and resumed is the run that was not.
#include <catch2/catch.hpp>

#include "run/trial.hpp"

namespace {

using namespace reno;
using namespace reno::test;
namespace fs = std::filesystem;
using Catch::Contains;

void append(const fs::path& file, const std::string& text) {
  std::ofstream(file, std::ios::binary | std::ios::app) << text;
}

/// The lines without what differs from run to run.
std::vector<nlohmann::json> metrics_of(const Trial& trial) {
  auto lines = read_lines(trial.output() / "metrics.jsonl");
  for (auto& line : lines) line.erase("seconds");
  return lines;
}

void check_same(const Trial& resumed, const Trial& straight, const std::vector<std::string>& files) {
  CHECK(metrics_of(resumed) == metrics_of(straight));
  CHECK(read_file(resumed.output() / "results.jsonl") == read_file(straight.output() / "results.jsonl"));
  for (const auto& file : files) {
    INFO(file);
    CHECK(read_file(resumed.output() / file) == read_file(straight.output() / file));
  }
}

/// Stops after every `steps` steps until the run is done; returns how often.
int run_in_pieces(Trial& trial, int steps) {
  trial.settings.existing = Existing::resume;
  for (int pieces = 0;; ++pieces) {
    int asked = 0;
    trial.settings.should_stop = [&] { return ++asked >= steps; };
    try {
      trial.execute();
      return pieces;
    } catch (const Interrupted&) {
    }
  }
}

TEST_CASE("stopped after any step, every optimizer and mode goes on bit for bit", "[resume]") {
  const std::string mode = GENERATE("plugin = \"sgd\"", "plugin = \"adam\"", "plugin = \"lbfgs\"",
                                    "best-of-n", "plugin = \"adam\"\n[noise]\ndraws = 4");
  INFO(mode);
  Trial straight;
  Trial resumed;
  for (Trial* trial : {&straight, &resumed}) {
    std::ofstream(trial->folder.path() / "prompts") << "one\ntwo dogs\nthree\n";
    trial->run =
        "task = \"example-prompts\"\nprompts = \"prompts\"\niterations = 7\nbatch = 2\nseed = 5\n"
        "checkpoint_seconds = 1000.0\n";
    if (mode == "best-of-n") {
      trial->run += "mode = \"best-of-n\"\n";
    } else {
      trial->more += "[optimizer]\n" + mode + "\n";
    }
  }
  straight.execute();
  CHECK(run_in_pieces(resumed, 1) == 13);  // six steps for each of two batches, and one stop between them
  check_same(resumed, straight,
             {"00000/best_noise.safetensors", "00001/best_noise.safetensors", "00002/best_noise.safetensors",
              "comparison.png"});
  CHECK(read_json(resumed.output() / "results.json")["complete"] == true);
  CHECK(read_json(resumed.output() / "results.json")["iterations"] == 14);
}

TEST_CASE("an interrupted run shows what there is and does not call it complete", "[resume]") {
  Trial trial;
  trial.run = "iterations = 9";
  trial.settings.should_stop = [] { return true; };
  CHECK_THROWS_WITH(trial.execute(), Contains("--resume continues it"));
  CHECK(read_json(trial.output() / "results.json")["complete"] == false);
  CHECK(read_json(trial.output() / "results.json")["images"] == 1);
  CHECK(metrics_of(trial).size() == 1);
}

TEST_CASE("what a killed process appended after its last resume point comes again, once", "[resume]") {
  Trial straight;
  Trial resumed;
  for (Trial* trial : {&straight, &resumed}) {
    std::ofstream(trial->folder.path() / "prompts") << "one\ntwo\n";
    trial->run = "task = \"example-prompts\"\nprompts = \"prompts\"\niterations = 4\n";
  }
  straight.execute();
  int asked = 0;
  resumed.settings.should_stop = [&] { return ++asked == 6; };  // in the second image
  CHECK_THROWS_AS(resumed.execute(), Interrupted);
  append(resumed.output() / "metrics.jsonl", "{\"iteration\":2,\"prompt\":1}\n{\"iterat");
  append(resumed.output() / "results.jsonl", "{\"prom");
  resumed.settings.should_stop = [] { return false; };
  resumed.settings.existing = Existing::resume;
  resumed.execute();
  check_same(resumed, straight, {"00000/best_noise.safetensors", "00001/best_noise.safetensors"});
}

TEST_CASE("what a killed process was writing is not left beside the images", "[resume]") {
  Trial trial;
  trial.write_prompts("a cat\ntwo dogs\nthree\n");
  trial.run = "task = \"t2i-compbench\"\nprompts = \"prompts\"\niterations = 4\n";
  int asked = 0;
  trial.settings.should_stop = [&] { return ++asked == 6; };  // in the second image
  CHECK_THROWS_AS(trial.execute(), Interrupted);
  const auto samples = trial.output() / "samples";
  append(samples / ".two dogs_000001.png.123.0.tmp", "half");
  append(samples / ".three_000002.png.124.0.tmp", "of another shard");
  trial.settings.should_stop = [] { return false; };
  trial.settings.existing = Existing::resume;
  trial.execute();
  CHECK_FALSE(fs::exists(samples / ".two dogs_000001.png.123.0.tmp"));
  CHECK(fs::exists(samples / ".three_000002.png.124.0.tmp"));
  CHECK(fs::exists(samples / "two dogs_000001.png"));
}

TEST_CASE("resuming what is finished changes nothing; resuming what has not begun begins it", "[resume]") {
  Trial trial;
  trial.run = "iterations = 3";
  trial.settings.existing = Existing::resume;
  trial.execute();
  const auto metrics = read_file(trial.output() / "metrics.jsonl");
  const auto results = read_json(trial.output() / "results.json");
  trial.execute();
  CHECK(read_file(trial.output() / "metrics.jsonl") == metrics);
  CHECK(read_json(trial.output() / "results.json")["iterations"] == 3);
  CHECK(read_json(trial.output() / "results.json")["mean"] == results["mean"]);
}

TEST_CASE("another experiment cannot continue a run; all differences are named", "[resume]") {
  Trial trial;
  trial.run = "iterations = 3";
  trial.execute();
  trial.settings.existing = Existing::resume;
  trial.run = "iterations = 4\ncheckpoint_seconds = 1.0";
  trial.more = "[[reward]]\nplugin = \"square\"\nweight = 2.0\n";
  CHECK_THROWS_WITH(
      trial.execute(),
      Contains("holds a run of another experiment, which cannot be continued as this one: there "
               "run.iterations = 3, reward.0.weight = 1.0; here run.iterations = 4, reward.0.weight = 2.0"));
  trial.run = "iterations = 3\ncheckpoint_seconds = 1.0";
  trial.more = "[[reward]]\nplugin = \"square\"\n";
  CHECK_NOTHROW(trial.execute());
}

TEST_CASE("a resume point that is damaged, and lines that are missing, are said to be", "[resume]") {
  Trial trial;
  trial.run = "iterations = 3";
  trial.settings.should_stop = [] { return true; };
  CHECK_THROWS_AS(trial.execute(), Interrupted);
  trial.settings.existing = Existing::resume;
  const auto file = trial.output() / "resume.safetensors";
  const auto point = read_file(file);
  std::ofstream(file) << "no such thing";
  CHECK_THROWS_WITH(trial.execute(), Contains("resume.safetensors: "));
  write_safetensors(file, {}, {{"state", "{}"}});
  CHECK_THROWS_WITH(trial.execute(), Contains("resume.safetensors: is damaged, or of another version"));
  std::ofstream(file, std::ios::binary) << point;
  fs::resize_file(trial.output() / "metrics.jsonl", 3);
  CHECK_THROWS_WITH(trial.execute(), Contains("metrics.jsonl: has 3 bytes, where "));
}

}  // namespace
