#include <catch2/catch.hpp>

#include "run/trial.hpp"

namespace {

using namespace reno;
using namespace reno::test;
namespace fs = std::filesystem;
using Catch::Contains;

TEST_CASE("a run leaves its whole directory behind", "[run]") {
  Trial trial;
  trial.run = "prompt = \"a \\\"cat\\\" <b>\"\niterations = 6\nseed = 3\nsave_all_images = true";
  const RunSummary summary = trial.execute();
  for (const char* name : {"experiment.toml", "metrics.jsonl", "results.jsonl", "results.json", "report.html",
                           "comparison.png", "init_image.png", "best_image.png", "best_noise.safetensors",
                           "images/00000.png", "images/00005.png"}) {
    INFO(name);
    CHECK(fs::file_size(trial.output() / name) > 0);
  }
  const auto metrics = read_lines(trial.output() / "metrics.jsonl");
  REQUIRE(metrics.size() == 6);
  CHECK(metrics[2]["iteration"] == 2);
  CHECK(metrics[2]["losses"]["square"].get<double>() ==
        Approx(10.0 - metrics[2]["scores"]["square"].get<double>()));
  CHECK(metrics[4]["grad_norm"].is_number());
  CHECK(metrics[5]["grad_norm"].is_null());
  const auto results = read_lines(trial.output() / "results.jsonl");
  REQUIRE(results.size() == 1);
  CHECK(results[0]["text"] == "a \"cat\" <b>");
  CHECK(results[0]["best"]["total"] < results[0]["initial"]["total"]);
  CHECK(results[0]["initial"]["total"] == metrics[0]["total"]);
  const auto total = read_json(trial.output() / "results.json");
  CHECK(total["mean"]["scores"]["square"]["best"] == results[0]["best"]["scores"]["square"]);
  CHECK(total["peak_memory_bytes"] > 1000000);
  double stages = 0.0;
  for (const auto& [stage, seconds] : total["seconds"]["iteration"].items()) stages += seconds.get<double>();
  CHECK(stages <= total["seconds"]["per_iteration"].get<double>());
  for (const std::string stage : {"generate", "preprocess", "square", "transfer", "record", "step",
                                  "square backward", "preprocess backward", "generate backward"})
    CHECK(total["seconds"]["iteration"].contains(stage));
  CHECK(summary.results["images"] == 1);
  CHECK(nlohmann::json(summary.results) == total);

  const auto noise = open_safetensors(trial.output() / "best_noise.safetensors")->read("noise");
  CHECK(noise.sizes() == at::IntArrayRef({1, 3, 8, 8}));
  CHECK(noise.norm().item<double>() == Approx(results[0]["best"]["norm"].get<double>()).epsilon(1e-5));
  const std::string best = read_file(trial.output() / "best_image.png");
  CHECK_THAT(best,
             Contains("tEXtparameters") && Contains("a \"cat\" <b>\nSteps: 1, Sampler: ReNO sgd, Seed: 3, "
                                                    "Size: 8x8, Model: sigmoid, ReNO iteration: 5"));
  CHECK_THAT(best,
             Contains("tEXtreno") && Contains(R"("text":"a \"cat\" <b>","prompt":0,"seed":3,"iteration":5)"));
  CHECK_THAT(read_file(trial.output() / "init_image.png"), Contains("ReNO iteration: 0,"));
  CHECK_FALSE(fs::exists(trial.output() / "tensorboard"));
  const Experiment again = read_experiment(trial.output() / "experiment.toml", trial.registry);
  CHECK(again == trial.experiment());
}

TEST_CASE("prompts in batches give what each gives alone", "[run]") {
  const auto totals = [](int batch) {
    Trial trial;
    std::ofstream(trial.folder.path() / "prompts.txt")
        << "\xEF\xBB\xBFone cat\r\n\r\ntwo dogs on a hill\n   \nthree\n";
    trial.run = fmt::format(
        "task = \"example-prompts\"\nprompts = \"prompts.txt\"\niterations = 5\nbatch = {}", batch);
    trial.execute();
    CHECK(fs::exists(trial.output() / "00002" / "best_image.png"));
    std::vector<double> result;
    for (const auto& line : read_lines(trial.output() / "results.jsonl")) {
      CHECK(line["prompt"] == result.size());
      result.push_back(line["best"]["total"]);
    }
    return result;
  };
  const auto single = totals(1);
  REQUIRE(single.size() == 3);
  for (const int batch : {2, 3, 7}) {
    const auto batched = totals(batch);
    REQUIRE(batched.size() == 3);
    for (std::size_t i = 0; i < 3; ++i) CHECK(batched[i] == Approx(single[i]).epsilon(1e-6));
  }
}

TEST_CASE("event files for TensorBoard, a folder per prompt", "[run]") {
  Trial trial;
  std::ofstream(trial.folder.path() / "prompts.txt") << "one\ntwo\nthree\n";
  trial.run =
      "task = \"example-prompts\"\nprompts = \"prompts.txt\"\niterations = 2\nbatch = 2\ntensorboard = true";
  trial.execute();
  trial.settings.existing = Existing::overwrite;
  trial.execute();
  for (const char* prompt : {"00000", "00001", "00002"}) {
    std::vector<fs::path> files;
    for (const auto& item : fs::directory_iterator(trial.output() / "tensorboard" / prompt))
      files.push_back(item.path());
    REQUIRE(files.size() == 1);
    const std::string events = read_file(files[0]);
    for (const char* name : {"score/square", "loss/total", "noise/norm", "image/initial", "image/best"})
      CHECK_THAT(events, Contains(name));
  }
}

TEST_CASE("no-optim stops after the first image; best-of-n draws afresh and needs no gradient", "[run]") {
  Trial plain;
  plain.run = "mode = \"no-optim\"\niterations = 9";
  plain.more = "";
  CHECK(plain.execute().results["iterations"] == 1);

  Trial sampling;
  sampling.run = "mode = \"best-of-n\"\niterations = 9";
  sampling.more = "[[reward]]\nplugin = \"black-box\"\nweight = 1.0\n";
  sampling.execute();
  const auto metrics = read_lines(sampling.output() / "metrics.jsonl");
  REQUIRE(metrics.size() == 9);
  double best = metrics[0]["total"];
  for (std::size_t i = 1; i < metrics.size(); ++i) {
    CHECK(metrics[i]["norm"] != metrics[i - 1]["norm"]);
    CHECK(metrics[i]["grad_norm"].is_null());
    best = std::min(best, metrics[i]["total"].get<double>());
  }
  CHECK(read_lines(sampling.output() / "results.jsonl")[0]["best"]["total"] == best);
}

TEST_CASE("noise.draws: the optimisation begins from the best of fresh noise", "[run]") {
  const auto lines = [](const std::string& run, const std::string& noise) {
    Trial trial;
    trial.run = run;
    trial.more += noise;
    trial.execute();
    return read_lines(trial.output() / "metrics.jsonl");
  };
  const auto drawn = lines("mode = \"best-of-n\"\niterations = 4", "");
  const auto begun = lines("iterations = 7", "[noise]\ndraws = 4\n");
  REQUIRE(begun.size() == 7);
  double best = drawn[0]["total"];
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(begun[i]["total"] == drawn[i]["total"]);
    CHECK(begun[i]["grad_norm"].is_null());
    best = std::min(best, drawn[i]["total"].get<double>());
  }
  CHECK(best < drawn[0]["total"]);
  CHECK(begun[4]["total"] == best);
  CHECK_FALSE(begun[4]["grad_norm"].is_null());
  CHECK(begun[5]["total"] < best);
}

/// Notes what the loop asks of a generator.
struct WatchedGenerator : SigmoidGenerator {
  using SigmoidGenerator::SigmoidGenerator;
  at::Tensor generate(const at::Tensor& noise, const Conditioning& conditioning) const {
    const at::Tensor images = SigmoidGenerator::generate(noise, conditioning);
    batches.push_back(noise.size(0));
    graphs += images.requires_grad() ? 1 : 0;
    return images;
  }
  inline static std::vector<std::int64_t> batches;
  inline static int graphs = 0;
};

TEST_CASE("best-of-n goes through the generator in whole batches and without a graph", "[run]") {
  const auto watch = [](const std::string& mode) {
    WatchedGenerator::batches.clear();
    WatchedGenerator::graphs = 0;
    Trial trial;
    trial.registry = Registry();
    trial.registry.add<WatchedGenerator>("sigmoid", "Fake.");
    trial.registry.add<SquareReward>("square", "Fake.");
    register_builtin_optimizers(trial.registry);
    std::ofstream(trial.folder.path() / "prompts.txt") << "one\ntwo\nthree\n";
    trial.run = fmt::format(
        "task = \"example-prompts\"\nprompts = \"prompts.txt\"\nsamples = 2\nbatch = 4\niterations = 3\n"
        "mode = \"{}\"",
        mode);
    trial.execute();
  };
  const std::vector<std::int64_t> six_images_by_four = {4, 4, 4, 2, 2, 2};
  watch("best-of-n");
  CHECK(WatchedGenerator::batches == six_images_by_four);
  CHECK(WatchedGenerator::graphs == 0);
  watch("optimize");
  CHECK(WatchedGenerator::batches == six_images_by_four);
  CHECK(WatchedGenerator::graphs == 4);  // the last iteration of each batch takes no gradient
}

/// Its previews are half as strong as its images.
struct PreviewGenerator : SigmoidGenerator {
  using SigmoidGenerator::SigmoidGenerator;
  at::Tensor generate(const at::Tensor& noise, const Conditioning& conditioning) const {
    return 0.5 * SigmoidGenerator::generate(noise, conditioning);
  }
  bool previews() const { return true; }
  at::Tensor finish(const at::Tensor& noise, const Conditioning& conditioning) const {
    return SigmoidGenerator::generate(noise, conditioning).detach();
  }
};

TEST_CASE("with previews, what is kept and reported is of the images themselves", "[run]") {
  Trial trial;
  trial.registry = Registry();
  trial.registry.add<PreviewGenerator>("sigmoid", "Fake.");
  trial.registry.add<SquareReward>("square", "Fake.");
  register_builtin_optimizers(trial.registry);
  std::ofstream(trial.folder.path() / "prompts.txt") << "one\nthree\n";
  trial.run =
      "task = \"example-prompts\"\nprompts = \"prompts.txt\"\nbatch = 2\niterations = 5\nsamples = 1\n"
      "save_all_images = true";
  const auto results = trial.execute().results;
  const auto metrics = read_lines(trial.output() / "metrics.jsonl");
  const auto lines = read_lines(trial.output() / "results.jsonl");
  REQUIRE(lines.size() == 2);
  double kept = 0.0;
  double previewed = 0.0;
  for (std::size_t n = 0; n < lines.size(); ++n) {
    const auto& line = lines[n];
    const auto folder = trial.output() / fmt::format("{:05}", n);
    const auto best = static_cast<std::size_t>(line["best_iteration"].get<int>());
    CHECK(line["preview"]["initial"]["total"] == metrics[n]["total"]);
    CHECK(line["preview"]["best"]["total"] == metrics[2 * best + n]["total"]);
    // The reward of the noise that was kept, by hand.
    const auto noise = open_safetensors(folder / "best_noise.safetensors")->read("noise");
    const double target = line["text"].get<std::string>().size() / 10.0;
    const auto seen = preprocess(at::sigmoid(noise), {.size = 8});
    const double score = -(seen - target).square().mean().item<double>();
    CHECK(line["best"]["scores"]["square"].get<double>() == Approx(score).epsilon(1e-5));
    // 8-bit pixels: the images are those of `finish`, the initial one as well.
    const auto pixels = read_png(folder / "best_image.png");
    CHECK((pixels - at::sigmoid(noise[0])).abs().max().item<double>() < 0.51 / 255);
    const auto initial = read_png(folder / "init_image.png");
    const auto shown = read_png(folder / "images/00000.png");
    CHECK((initial - 2 * shown).abs().max().item<double>() < 1.6 / 255);
    kept += line["best"]["total"].get<double>() / 2;
    previewed += line["preview"]["best"]["total"].get<double>() / 2;
  }
  CHECK(results["mean"]["total"]["best"].get<double>() == Approx(kept));
  CHECK(results["mean"]["total"]["previewed_best"].get<double>() == Approx(previewed));
  CHECK(results["mean"]["scores"]["square"].contains("previewed_best"));
  CHECK(results["seconds"]["finish"].get<double>() > 0.0);
}

TEST_CASE("a reward without gradient can be monitored, not optimised", "[run]") {
  Trial trial;
  trial.run = "iterations = 2";
  trial.more = "[[reward]]\nplugin = \"square\"\n[[reward]]\nplugin = \"black-box\"\nweight = 0.0\n";
  trial.execute();
  CHECK(read_lines(trial.output() / "metrics.jsonl")[1]["scores"].contains("black-box"));

  Trial refused;
  refused.more = "[[reward]]\nplugin = \"black-box\"\n";
  CHECK_THROWS_WITH(refused.execute(), Contains("reward 'black-box' has no gradient: give it weight = 0"));
}

TEST_CASE("a NaN ends the run with everything saved up to there", "[run]") {
  Trial trial;
  trial.more = "[[reward]]\nplugin = \"failing\"\n";
  CHECK_THROWS_WITH(trial.execute(), Contains("reward 'failing' is NaN at iteration 2"));
  CHECK(read_lines(trial.output() / "metrics.jsonl").size() == 2);
  CHECK(fs::exists(trial.output() / "best_image.png"));
  CHECK(fs::exists(trial.output() / "best_noise.safetensors"));
}

TEST_CASE("asked to stop, a run saves and says so", "[run]") {
  Trial trial;
  std::ofstream(trial.folder.path() / "prompts.txt") << "one\ntwo\nthree\n";
  trial.run = "task = \"example-prompts\"\nprompts = \"prompts.txt\"\niterations = 4";
  int asked = 0;
  trial.settings.should_stop = [&] { return ++asked > 5; };
  CHECK_THROWS_AS(trial.execute(), Interrupted);
  CHECK(fs::exists(trial.output() / "00001" / "best_noise.safetensors"));
  CHECK_FALSE(fs::exists(trial.output() / "00002"));
  CHECK(fs::exists(trial.output() / "results.json"));
}

TEST_CASE("stored noise is where a run begins", "[run]") {
  Trial trial;
  trial.run = "iterations = 1";
  trial.more += "[noise]\ninit = \"noise.safetensors\"\n";
  write_safetensors(trial.folder.path() / "noise.safetensors", {{"noise", at::full({3, 8, 8}, 0.5)}}, {});
  trial.execute();
  CHECK(at::equal(open_safetensors(trial.output() / "best_noise.safetensors")->read("noise"),
                  at::full({1, 3, 8, 8}, 0.5)));

  trial.settings.existing = Existing::overwrite;
  write_safetensors(trial.folder.path() / "noise.safetensors", {{"noise", at::zeros({3, 8, 9})}}, {});
  CHECK_THROWS_WITH(trial.execute(),
                    Contains("noise.init has shape [3, 8, 9], but the generator needs [1, 3, 8, 8]"));
  write_safetensors(trial.folder.path() / "noise.safetensors", {{"latents", at::zeros({3, 8, 8})}}, {});
  CHECK_THROWS_WITH(trial.execute(), Contains("there is no tensor \"noise\""));
  fs::remove(trial.folder.path() / "noise.safetensors");
  CHECK_THROWS_WITH(trial.execute(),
                    Contains("noise.init = \"noise.safetensors\" is not a file; looked for"));
}

TEST_CASE("a file of prompts that is not there, and one that is empty", "[run]") {
  Trial missing;
  missing.run = "task = \"example-prompts\"\nprompts = \"none.txt\"";
  CHECK_THROWS_WITH(missing.execute(), Contains("run.prompts = \"none.txt\" is not a file"));
  Trial empty;
  std::ofstream(empty.folder.path() / "prompts.txt") << "\n  \n";
  empty.run = "task = \"example-prompts\"\nprompts = \"prompts.txt\"";
  CHECK_THROWS_WITH(empty.execute(), Contains("prompts.txt: there is no prompt in it"));
}

}  // namespace
