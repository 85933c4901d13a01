#include <catch2/catch.hpp>

#include "reno/loop.hpp"
#include "support/fakes.hpp"

namespace {

using namespace reno;
using namespace reno::test;

struct Setup {
  Counts counts;
  Objective objective;
  at::Tensor noise = at::zeros({2, 3, 8, 8}, at::kDouble);

  explicit Setup(double factor = -1.0) : objective(make(factor)) {}

  Objective make(double factor) {
    std::vector<WeightedReward> rewards;
    rewards.push_back(
        {"square", 1.0, AnyReward(std::make_unique<SquareReward>(factor, 8, &counts, nullptr))});
    return {AnyGenerator(std::make_unique<SigmoidGenerator>(&counts)), std::move(rewards), 0.0};
  }

  std::vector<ImageResult> run(const NextNoise& next, LoopOptions options) {
    std::vector<ImageResult> results;
    noise.normal_();
    optimize_noise(objective, objective.encode({"a", "bc"}), noise, next, options, results);
    return results;
  }
};

void descend(at::Tensor& noise, const Evaluation& evaluation, const Evaluate&) {
  noise.sub_(evaluation.gradient, 10.0);
}

TEST_CASE("the loop evaluates n times and steps n - 1 times; prompts are encoded once", "[loop]") {
  Setup setup;
  int steps = 0;
  std::vector<Iteration> seen;
  LoopOptions options;
  options.iterations = 5;
  options.on_iteration = [&](const Iteration& iteration) { seen.push_back(iteration); };
  const auto results = setup.run(
      [&](auto& noise, auto& evaluation, auto& evaluate) { descend(noise, evaluation, evaluate), ++steps; },
      options);
  CHECK(steps == 4);
  REQUIRE(seen.size() == 5);
  CHECK(setup.counts == Counts{{"generator", 1}, {"reward", 1}});
  CHECK(seen[3].metrics[0].grad_norm.has_value());
  CHECK_FALSE(seen[4].metrics[0].grad_norm.has_value());
  for (const auto& result : results) {
    CHECK(result.best_iteration == 4);
    CHECK(result.best.total < result.initial.total);
    CHECK(result.best.losses[0] == Approx(10.0 - result.best.scores[0]));
  }
}

TEST_CASE("before gradient_from the objective is only measured", "[loop]") {
  Setup setup;
  LoopOptions options;
  options.iterations = 5;
  options.gradient_from = 2;
  std::vector<bool> gradients;
  setup.run(
      [&](auto&, const Evaluation& evaluation, auto&) { gradients.push_back(evaluation.gradient.defined()); },
      options);
  CHECK(gradients == std::vector<bool>{false, false, true, true});
}

TEST_CASE("the best is the strict minimum; ties keep the earlier; each image has its own", "[loop]") {
  Setup setup;
  const std::vector<std::vector<double>> offsets = {{1.0, 3.0}, {0.5, 3.0}, {2.0, 0.1}};  // iteration x image
  std::size_t step = 0;
  LoopOptions options;
  options.iterations = 4;
  options.gradient_from = options.iterations;
  const auto results = setup.run(
      [&](at::Tensor& noise, const Evaluation& evaluation, const Evaluate&) {
        CHECK_FALSE(evaluation.gradient.defined());
        noise = at::tensor(offsets[step++]).view({2, 1, 1, 1}).expand({2, 3, 8, 8}) * -1.0;
      },
      options);
  // sigmoid(-x) -> the images get darker as x grows, which is nearer to normalised targets of about 0.1.
  CHECK(step == 3);
  for (const auto& result : results) CHECK(result.best_noise.sizes() == at::IntArrayRef({3, 8, 8}));
  CHECK(results[0].best_iteration != results[1].best_iteration);

  const auto frozen = setup.run([](auto&, auto&, auto&) {}, options);
  CHECK(frozen[0].best_iteration == 0);
}

TEST_CASE("asked to stop, the loop finishes its iteration", "[loop]") {
  Setup setup;
  int seen = 0;
  LoopOptions options;
  options.iterations = 50;
  options.on_iteration = [&](const Iteration&) { ++seen; };
  options.should_stop = [&] { return seen == 3; };
  const auto results = setup.run(descend, options);
  CHECK(seen == 3);
  CHECK(results[0].best_image.defined());
}

TEST_CASE("a NaN stops the loop and names iteration and component", "[loop]") {
  Setup setup(std::numeric_limits<double>::quiet_NaN());
  LoopOptions options;
  CHECK_THROWS_WITH(setup.run(descend, options),
                    Catch::Contains("the score of reward 'square' is NaN at iteration 0"));

  Setup healthy;
  healthy.noise.normal_();
  std::vector<ImageResult> results;
  const auto poison = [](at::Tensor& noise, const Evaluation&, const Evaluate&) {
    noise.fill_(std::numeric_limits<double>::infinity());
  };
  CHECK_THROWS_AS(optimize_noise(healthy.objective, healthy.objective.encode({"a", "b"}), healthy.noise,
                                 poison, options, results),
                  RunError);
  REQUIRE(results.size() == 2);
  CHECK(results[0].best_image.defined());
}

}  // namespace
