#include <catch2/catch.hpp>

#include "run/trial.hpp"

namespace {

using namespace reno;
using namespace reno::test;
using Catch::Contains;

/// Refining multiplies the noise by the number of steps: easy to see in the image.
struct RefiningGenerator : SigmoidGenerator {
  struct Options {
    std::filesystem::path base;
    void describe(auto& field) { field("base", base, "multi-step model"); }
  };
  RefiningGenerator(const Options& options, const Context& context)
      : SigmoidGenerator({}, context), base(options.base) {
    if (base == "damaged") throw LoadError("damaged: no such model");
  }
  at::Tensor refine(const at::Tensor& noise, const Conditioning& conditioning, std::int64_t steps,
                    double guidance) const {
    CHECK_FALSE(at::GradMode::is_enabled());
    CHECK(guidance == 7.5);
    return generate(noise * static_cast<double>(steps), conditioning);
  }
  std::filesystem::path base;
};

Registry refining_registry() {
  Registry registry;
  registry.add<RefiningGenerator>("sigmoid", "Fake.");
  registry.add<SquareReward>("square", "Fake.");
  register_builtin_optimizers(registry);
  return registry;
}

const std::string refine = "[refine]\nsteps = 3\nguidance = 7.5\n";

TEST_CASE("the noise before and after makes images of several steps, too", "[run]") {
  Trial trial;
  trial.registry = refining_registry();
  trial.run = "iterations = 5";
  trial.more += refine;
  trial.execute();
  const auto noise = open_safetensors(trial.output() / "best_noise.safetensors")->read("noise");
  const auto expected = at::sigmoid(noise[0] * 3);
  CHECK(at::allclose(read_png(trial.output() / "best_image_refined.png"), expected, 0, 0.5 / 255 + 1e-6));
  const auto start = NoiseSource(0, 0, {3, 8, 8}).draw();
  CHECK(at::allclose(read_png(trial.output() / "init_image_refined.png"), at::sigmoid(start[0] * 3), 0,
                     0.5 / 255 + 1e-6));
  const auto line = read_lines(trial.output() / "results.jsonl")[0];
  const auto files = line["files"];
  CHECK(files["refined_initial_image"] == "init_image_refined.png");
  CHECK(files["refined_best_image"] == "best_image_refined.png");
  CHECK_THAT(read_file(trial.output() / "report.html"), Contains("best, refined"));
  const double target = static_cast<double>(line["text"].get<std::string>().size()) / 10.0;
  const auto results = read_json(trial.output() / "results.json");
  const std::pair<const char*, at::Tensor> sides[] = {{"initial", start[0]}, {"best", noise[0]}};
  for (const auto& [side, from] : sides) {
    INFO(side);
    const at::Tensor pixels =
        preprocess(at::sigmoid(from * 3).unsqueeze(0), SquareReward({}, Context{}).preprocess());
    const double score = -(pixels - target).square().mean().item<double>();
    const auto& judged = line["refined"][side];
    CHECK(judged["scores"]["square"].get<double>() == Approx(score).epsilon(1e-5));
    CHECK(judged["losses"]["square"].get<double>() == Approx(10.0 - score).epsilon(1e-5));
    CHECK(judged["total"].get<double>() == Approx(10.0 - score).epsilon(1e-5));
    CHECK(results["refined"]["mean"]["scores"]["square"][side] == judged["scores"]["square"]);
  }
  CHECK(results["refined"]["images"] == 1);
  const auto png = read_file(trial.output() / "best_image_refined.png");
  CHECK_THAT(png, Contains("Steps: 3, Sampler: ReNO sgd, CFG scale: 7.5, Seed: 0"));
  CHECK_THAT(png, Contains(R"("refined":{"steps":3,"guidance":7.5})") && Contains(R"("scores":{"square":)"));
}

TEST_CASE("a refined image whose score is no number ends the run, after saving", "[run]") {
  Trial trial;
  trial.registry = refining_registry();
  trial.registry.add<FailingReward>("failing", "Fake.");
  trial.run = "iterations = 2";
  trial.more = "[[reward]]\nplugin = \"failing\"\n" + refine;
  CHECK_THROWS_WITH(trial.execute(), Contains("the score of reward 'failing' is NaN for a refined image"));
  CHECK(std::filesystem::exists(trial.output() / "best_image.png"));
}

TEST_CASE("without [refine] there are no such images", "[run]") {
  Trial trial;
  trial.registry = refining_registry();
  trial.run = "iterations = 2";
  trial.execute();
  CHECK_FALSE(std::filesystem::exists(trial.output() / "best_image_refined.png"));
  const auto line = read_lines(trial.output() / "results.jsonl")[0];
  CHECK_FALSE(line["files"].contains("refined_best_image"));
  CHECK_FALSE(line.contains("refined"));
  CHECK_FALSE(read_json(trial.output() / "results.json").contains("refined"));
}

TEST_CASE("benchmarks' refined images lie beside what the evaluators read", "[run]") {
  Trial trial;
  trial.registry = refining_registry();
  trial.run = "task = \"geneval\"\nprompts = \"prompts\"\niterations = 2\nsamples = 2\nbatch = 2";
  trial.more += refine;
  trial.write_prompts(R"({"prompt": "a dog", "tag": "single_object"})"
                      "\n");
  trial.execute();
  for (const char* seed : {"00000.png", "00001.png"})
    for (const char* folder : {"samples", "refined", "refined_initial"})
      CHECK(std::filesystem::exists(trial.output() / "00000" / folder / seed));
}

TEST_CASE("refine.generator is the generator's base, and must be possible", "[run]") {
  Trial trial;
  trial.registry = refining_registry();
  trial.run = "iterations = 1";
  trial.more += refine + "generator = \"damaged\"\n";
  CHECK_THROWS_WITH(trial.execute(), Contains("generator 'sigmoid': damaged: no such model"));

  Trial baseless;
  baseless.more += "[refine]\ngenerator = \"some/model\"\n";
  CHECK_THROWS_WITH(baseless.execute(),
                    Contains("refine.generator is set, but generator 'sigmoid' has no option"));
  Trial unable;
  unable.more += refine;
  CHECK_THROWS_WITH(unable.execute(),
                    Contains("refine.steps = 3, but generator 'sigmoid' has no multi-step sampler"));
}

TEST_CASE("noise.as_networks: the noise has the networks' precision, from first to last", "[run]") {
  for (const bool as_networks : {false, true}) {
    Trial trial;
    trial.run = "iterations = 4\ndtype = \"bfloat16\"";
    trial.more += fmt::format("[noise]\nas_networks = {}\n", as_networks);
    trial.execute();
    const auto noise = open_safetensors(trial.output() / "best_noise.safetensors")->read("noise");
    CHECK(noise.scalar_type() == at::kFloat);
    CHECK(at::equal(noise, noise.to(at::kBFloat16).to(at::kFloat)) == as_networks);
  }
}

}  // namespace
