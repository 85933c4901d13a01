#include <catch2/catch.hpp>

#include "reno/objective.hpp"
#include "support/fakes.hpp"

namespace {

using namespace reno;
using namespace reno::test;

const Prompts prompts = {"a cat", "two dogs, one ball"};

Objective make_objective(std::vector<WeightedReward> rewards, double regularization,
                         Counts* counts = nullptr) {
  return {AnyGenerator(std::make_unique<SigmoidGenerator>(counts)), std::move(rewards), regularization};
}

WeightedReward square(std::string name, double weight, double factor, std::int64_t size = 8,
                      Counts* counts = nullptr, GraphCount* graphs = nullptr) {
  return {std::move(name), weight, AnyReward(std::make_unique<SquareReward>(factor, size, counts, graphs))};
}

at::Tensor some_noise() {
  at::manual_seed(3);
  return at::randn({2, 3, 8, 8}, at::kDouble);
}

TEST_CASE("the staged gradient is the gradient of the whole graph", "[objective]") {
  std::vector<WeightedReward> rewards;
  rewards.push_back(square("near", 2.0, -1.0));
  rewards.push_back(square("resized", 0.5, -3.0, 6));
  rewards.push_back(square("monitored", 0.0, -7.0));
  const Objective objective = make_objective(std::move(rewards), 0.3);
  const auto encoded = objective.encode(prompts);
  const at::Tensor noise = some_noise();
  const Measurement measured = objective.measure(noise, encoded, true);

  // The same in one piece.
  const at::Tensor leaf = noise.detach().requires_grad_();
  const at::Tensor images = at::sigmoid(leaf);
  SquareReward near(-1.0, 8, nullptr, nullptr);
  SquareReward resized(-3.0, 6, nullptr, nullptr);
  const at::Tensor total =
      2.0 * (10.0 - near.score(preprocess(images, {.size = 8}), near.encode(prompts))) +
      0.5 * (10.0 - resized.score(preprocess(images, {.size = 6}), resized.encode(prompts)));
  const at::Tensor norm = leaf.flatten(1).norm(2, 1);
  const at::Tensor loss = total + 0.3 * (0.5 * norm.square() - (192 - 1) * norm.log());
  const at::Tensor gradient = torch::autograd::grad({loss.sum()}, {leaf})[0];

  CHECK(at::allclose(measured.total, total.detach(), 1e-12));
  CHECK(at::allclose(measured.evaluation().loss, loss.detach(), 1e-12));
  CHECK(at::allclose(measured.gradient, gradient, 1e-10, 1e-12));
  CHECK_FALSE(measured.total.requires_grad());
  CHECK_FALSE(measured.gradient.requires_grad());
}

TEST_CASE("reward graphs never coexist", "[objective]") {
  GraphCount graphs;
  std::vector<WeightedReward> rewards;
  for (const char* name : {"a", "b", "c"}) rewards.push_back(square(name, 1.0, -1.0, 8, nullptr, &graphs));
  const Objective objective = make_objective(std::move(rewards), 0.0);
  const auto encoded = objective.encode(prompts);
  const Measurement measured = objective.measure(some_noise(), encoded, true);
  CHECK(measured.gradient.defined());
  CHECK(graphs.peak == 1);
  CHECK(graphs.live == 0);
}

TEST_CASE("without a gradient no graph is built", "[objective]") {
  GraphCount graphs;
  std::vector<WeightedReward> rewards;
  rewards.push_back(square("a", 1.0, -1.0, 8, nullptr, &graphs));
  const Objective objective = make_objective(std::move(rewards), 0.01);
  const Measurement measured = objective.measure(some_noise(), objective.encode(prompts), false);
  CHECK(graphs.peak == 0);
  CHECK_FALSE(measured.gradient.defined());
  CHECK(measured.images.sizes() == at::IntArrayRef({2, 3, 8, 8}));
}

TEST_CASE("a monitored reward is scored and has no part in the objective", "[objective]") {
  GraphCount graphs;
  std::vector<WeightedReward> rewards;
  rewards.push_back(square("weighted", 1.0, -1.0));
  rewards.push_back(square("monitored", 0.0, -5.0, 8, nullptr, &graphs));
  const Objective both = make_objective(std::move(rewards), 0.01);
  std::vector<WeightedReward> one;
  one.push_back(square("weighted", 1.0, -1.0));
  const Objective alone = make_objective(std::move(one), 0.01);
  const Measurement with = both.measure(some_noise(), both.encode(prompts), true);
  const Measurement without = alone.measure(some_noise(), alone.encode(prompts), true);
  CHECK(at::equal(with.gradient, without.gradient));
  CHECK(at::equal(with.total, without.total));
  CHECK(at::allclose(with.scores[1], 5.0 * with.scores[0]));
  CHECK(graphs.peak == 0);
}

TEST_CASE("a reward without gradient is named when it has a weight", "[objective]") {
  const auto with_weight = [](double weight) {
    std::vector<WeightedReward> rewards;
    rewards.push_back(
        {"judge", weight, AnyReward(std::make_unique<BlackBoxReward>(BlackBoxReward::Options{}, Context{}))});
    return make_objective(std::move(rewards), 0.0);
  };
  CHECK(with_weight(1.0).black_box() == "judge");
  CHECK_FALSE(with_weight(0.0).black_box());
  const Objective monitored = with_weight(0.0);
  CHECK(monitored.measure(some_noise(), monitored.encode(prompts), true).scores[0].size(0) == 2);
}

TEST_CASE("a batch equals single runs", "[objective]") {
  std::vector<WeightedReward> rewards;
  rewards.push_back(square("a", 1.0, -1.0));
  const Objective objective = make_objective(std::move(rewards), 0.02);
  const at::Tensor noise = some_noise();
  const Measurement batch = objective.measure(noise, objective.encode(prompts), true);
  for (std::int64_t i = 0; i < 2; ++i) {
    const auto encoded = objective.encode({prompts[static_cast<std::size_t>(i)]});
    const Measurement single = objective.measure(noise.narrow(0, i, 1), encoded, true);
    CHECK(at::allclose(batch.gradient[i], single.gradient[0], 1e-12, 1e-14));
    CHECK(at::allclose(batch.total[i], single.total[0], 1e-12, 1e-14));
  }
}

}  // namespace
