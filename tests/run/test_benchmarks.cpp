// The benchmark tasks write what the benchmarks' own evaluators read.
#include <catch2/catch.hpp>
#include <map>
#include <regex>
#include <set>

#include "run/trial.hpp"

namespace {

using namespace reno;
using namespace reno::test;
namespace fs = std::filesystem;

/// As GenEval's evaluate_images.py walks a folder: per numbered folder its metadata and its images.
std::map<std::string, std::pair<nlohmann::json, std::set<std::string>>> as_geneval_reads(
    const fs::path& root) {
  std::map<std::string, std::pair<nlohmann::json, std::set<std::string>>> found;
  for (const auto& folder : fs::directory_iterator(root)) {
    const std::string name = folder.path().filename();
    if (!folder.is_directory() || name.find_first_not_of("0123456789") != std::string::npos) continue;
    auto& [metadata, images] = found[name];
    metadata = read_json(folder.path() / "metadata.jsonl");
    for (const auto& image : fs::directory_iterator(folder.path() / "samples")) {
      if (std::regex_match(image.path().filename().string(), std::regex("\\d+\\.png")))
        images.insert(image.path().filename());
    }
  }
  return found;
}

/// As T2I-CompBench's evaluators do: every file of samples/, sorted by the number behind the last '_', its
/// prompt up to the first '_'.
std::map<int, std::string> as_compbench_reads(const fs::path& root) {
  std::map<int, std::string> prompts;
  for (const auto& image : fs::directory_iterator(root / "samples")) {
    const std::string name = image.path().filename();
    prompts[std::stoi(name.substr(name.rfind('_') + 1))] = name.substr(0, name.find('_'));
    CHECK_NOTHROW(read_png(image.path()));
  }
  return prompts;
}

TEST_CASE("GenEval: metadata and four samples per prompt", "[benchmarks]") {
  Trial trial;
  // github.com/djghosh13/geneval, prompts/evaluation_metadata.jsonl
  trial.write_prompts(
      "{\"tag\": \"single_object\", \"include\": [{\"class\": \"bench\", \"count\": 1}], \"prompt\": \"a "
      "photo of a "
      "bench\"}\n{\"tag\": \"counting\", \"include\": [{\"class\": \"clock\", \"count\": 2}], \"prompt\": "
      "\"a "
      "photo of two clocks\"}\n");
  trial.run = "task = \"geneval\"\nprompts = \"prompts\"\niterations = 3\nbatch = 3\nseed = 0";
  const auto results = trial.execute().results;
  const auto found = as_geneval_reads(trial.output());
  REQUIRE(found.size() == 2);
  const std::set<std::string> four = {"00000.png", "00001.png", "00002.png", "00003.png"};
  CHECK(found.at("00000").second == four);
  CHECK(found.at("00001").second == four);
  CHECK(found.at("00001").first["include"][0]["class"] == "clock");
  CHECK(fs::exists(trial.output() / "00001" / "initial" / "00003.png"));
  CHECK(fs::exists(trial.output() / "00001" / "noise" / "00003.safetensors"));
  CHECK(results["images"] == 8);
  CHECK(results["by_label"]["tag"]["counting"]["images"] == 4);
}

TEST_CASE("T2I-CompBench: the prompt and its number in the name, nothing else in the folder",
          "[benchmarks]") {
  Trial trial;
  // github.com/Karine-Huang/T2I-CompBench, examples/dataset
  trial.write_prompts(
      "a green bench and a red car\r\nThe white and yellow clock with a red roof reads 11:44.\r\n"
      "A person is wearing sunglasses and people-watching at a café.\r\nand/or \"x\"?");
  trial.run = "task = \"t2i-compbench\"\nprompts = \"prompts\"\niterations = 2\nsave_all_images = true";
  trial.execute();
  CHECK(as_compbench_reads(trial.output()) ==
        std::map<int, std::string>{{0, "a green bench and a red car"},
                                   {1, "The white and yellow clock with a red roof reads 11:44."},
                                   {2, "A person is wearing sunglasses and people-watching at a café."},
                                   {3, "and or \"x\"?"}});
  CHECK(fs::exists(trial.output() / "samples" / "a green bench and a red car_000000.png"));
  CHECK(fs::exists(trial.output() / "images" / "000003" / "00001.png"));

  trial.settings.existing = Existing::overwrite;
  trial.run = "task = \"t2i-compbench\"\nprompts = \"prompts\"\nmode = \"no-optim\"\nsamples = 10";
  trial.execute();
  const auto ten = as_compbench_reads(trial.output());
  REQUIRE(ten.size() == 40);
  CHECK(ten.at(19) == ten.at(10));
  CHECK(ten.at(20) != ten.at(19));
}

TEST_CASE("T2I-CompBench: any prompt gives a name that a file system takes", "[benchmarks]") {
  CHECK(compbench_name("../a/b") == ".. a b");
  CHECK(compbench_name("a\tb\n") == "a b ");
  CHECK(compbench_name(std::string("a\0b", 3)) == "a b");
  CHECK(compbench_name("\xff") == "\xEF\xBF\xBD");
  CHECK(compbench_name("").empty());
  const std::string long_name = compbench_name("x" + std::string(1000, ' ') + "é");
  CHECK(long_name.size() == 200);
  std::string accents = "x";
  for (int i = 0; i < 300; ++i) accents += "é";
  CHECK(compbench_name(accents).size() == 199);
}

TEST_CASE("PartiPrompts: a folder per prompt, improvement by category and challenge", "[benchmarks]") {
  Trial trial;
  // github.com/google-research/parti, PartiPrompts.tsv
  trial.write_prompts(
      "Prompt\tCategory\tChallenge\tNote\nbond\tAbstract\tBasic\tBiology-inspired concepts\n"
      "Salvador Dalí\tPeople\tBasic\t\na corgi’s head\tAnimals\tPerspective\t\n");
  trial.run =
      "task = \"parti-prompts\"\nprompts = \"prompts\"\niterations = 8\nbenchmark_reward = \"square\"";
  const auto results = trial.execute().results;
  for (const char* folder : {"0", "1", "2"}) CHECK(fs::exists(trial.output() / folder / "best_image.png"));
  std::ifstream prompt(trial.output() / "1" / "prompt.txt");
  std::string text;
  std::getline(prompt, text);
  CHECK(text == "Salvador Dalí");

  double gain = 0.0;
  const auto lines = read_lines(trial.output() / "results.jsonl");
  for (const auto& line : lines) {
    gain +=
        line["best"]["scores"]["square"].get<double>() - line["initial"]["scores"]["square"].get<double>();
  }
  CHECK(results["benchmark"]["reward"] == "square");
  CHECK(results["benchmark"]["mean_improvement"].get<double>() == Approx(gain / 3));
  CHECK(results["benchmark"]["improved"] == 1.0);
  CHECK(results["by_label"]["challenge"]["Basic"]["images"] == 2);
  CHECK(results["by_label"]["category"].size() == 3);
  const auto animals = results["by_label"]["category"]["Animals"]["mean"]["total"]["best"];
  CHECK(animals == lines[2]["best"]["total"]);
}

TEST_CASE("noise depends on seed and prompt only, not on what else is in a run", "[benchmarks]") {
  const auto noise = [](const std::string& run, const std::string& file) {
    Trial trial;
    trial.write_prompts("a\nbb\nccc\n");
    trial.run = "task = \"example-prompts\"\nprompts = \"prompts\"\niterations = 1\n" + run;
    trial.execute();
    return open_safetensors(trial.output() / file)->read("noise").clone();
  };
  const at::Tensor alone = noise("seed = 5", "00002/best_noise.safetensors");
  CHECK(at::equal(noise("seed = 5\nbatch = 3", "00002/best_noise.safetensors"), alone));
  CHECK(at::equal(noise("seed = 3\nsamples = 4\nbatch = 5", "00002/00005/best_noise.safetensors"), alone));
  CHECK_FALSE(at::equal(noise("seed = 6", "00002/best_noise.safetensors"), alone));
  CHECK_FALSE(at::equal(noise("seed = 5", "00001/best_noise.safetensors"), alone));
}

TEST_CASE("what is counted as improved", "[benchmarks]") {
  const auto image = [](double before, double after, const std::string& label) {
    FinishedImage result;
    result.labels = {{"kind", label}};
    result.initial.scores = {before};
    result.best.scores = {after};
    result.initial.total = 10.0 - 2.0 * before;
    result.best.total = 10.0 - 2.0 * after;
    return result;
  };
  Summary by_reward({"r"}, "r");
  Summary by_total({"r"}, "total");
  for (auto* summary : {&by_reward, &by_total}) {
    summary->add(image(1.0, 2.0, "a"));
    summary->add(image(1.0, 1.0, "a"));
    summary->add(image(1.0, 0.5, "b"));
  }
  const auto reward = by_reward.json();
  CHECK(reward["benchmark"]["improved"].get<double>() == Approx(1.0 / 3));
  CHECK(reward["benchmark"]["mean_improvement"].get<double>() == Approx(0.5 / 3));
  CHECK(reward["by_label"]["kind"]["a"]["benchmark"]["improved"] == 0.5);
  CHECK(by_total.json()["benchmark"]["mean_improvement"].get<double>() == Approx(1.0 / 3));
  for (int i = 0; i < 1100; ++i) by_reward.add(image(0, 1, std::to_string(i)));
  const auto many = by_reward.json()["by_label"]["kind"];
  CHECK(many.size() == 1001);
  CHECK(many["(others)"]["images"] == 102);
}

}  // namespace
