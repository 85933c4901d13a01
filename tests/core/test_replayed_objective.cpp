#include <catch2/catch.hpp>
#include <functional>

#include "reno/loop.hpp"
#include "support/fakes.hpp"

namespace {

using namespace reno;
using namespace reno::test;

/// Stands in for a device's graph: does the work again when it is replayed.
struct PretendGraph final : DeviceGraph {
  void record(const std::function<void()>& work) override {
    if (refusal) throw std::runtime_error(*refusal);
    work_ = work;
    work_();
    ++records;
  }
  void side_by_side(const std::vector<std::function<void()>>& pieces) override {
    for (auto piece = pieces.rbegin(); piece != pieces.rend(); ++piece) (*piece)();
    widest = std::max(widest, pieces.size());
  }
  void replay() override {
    if (!silent) work_();
    ++replays;
  }

  std::optional<std::string> refusal;
  bool silent = false;  ///< replays do nothing, as the host sees a device's
  int records = 0, replays = 0;
  std::size_t widest = 0;  ///< so many pieces side by side, which are done last to first

 private:
  std::function<void()> work_;
};

Objective make_objective(const std::shared_ptr<StageClock>& clock = nullptr) {
  std::vector<WeightedReward> rewards;
  for (const auto& [name, factor, size] :
       {std::tuple("first", -1.0, 8), std::tuple("second", -0.3, 8), std::tuple("larger", -0.7, 16)})
    rewards.push_back({name, 1.5, AnyReward(std::make_unique<SquareReward>(factor, size, nullptr, nullptr))});
  return {AnyGenerator(std::make_unique<SigmoidGenerator>(nullptr)), std::move(rewards), 0.01, clock};
}

void check_same(const Measurement& one, const Measurement& other) {
  CHECK(at::equal(one.images, other.images));
  CHECK(at::equal(one.total, other.total));
  CHECK(at::equal(one.norm, other.norm));
  CHECK(at::equal(one.regularization, other.regularization));
  for (std::size_t k = 0; k < one.scores.size(); ++k) {
    CHECK(at::equal(one.scores[k], other.scores[k]));
    CHECK(at::equal(one.gradient_norms[k], other.gradient_norms[k]));
  }
  CHECK(one.gradient.defined() == other.gradient.defined());
  if (one.gradient.defined()) CHECK(at::equal(one.gradient, other.gradient));
}

TEST_CASE("an objective is recorded at its second gradient, and replayed from then on", "[loop]") {
  const Objective objective = make_objective();
  const auto prompts = objective.encode({"a", "bc"});
  PretendGraph graph;
  ReplayedObjective replayed(objective, prompts, &graph);
  std::vector<Measurement> kept;
  std::vector<at::Tensor> noises;
  for (int i = 0; i < 4; ++i) {
    CHECK(graph.records == (i > 1 ? 1 : 0));
    CHECK(graph.replays == std::max(0, i - 1));
    noises.push_back(at::randn({2, 3, 8, 8}, at::kDouble));
    kept.push_back(replayed.measure(noises.back(), true));
    const auto without = replayed.measure(noises.back(), false);  // which is no replay
    CHECK_FALSE(without.gradient.defined());
    CHECK(at::equal(without.total, kept.back().total));
  }
  CHECK(graph.records == 1);
  CHECK(graph.replays == 3);
  CHECK(graph.widest == 2);  // those that see the same pixels
  for (std::size_t i = 0; i < kept.size(); ++i)
    check_same(kept[i], objective.measure(noises[i], prompts, true));
}

TEST_CASE("the loop gives the same with a graph as without", "[loop]") {
  const Objective objective = make_objective();
  const auto prompts = objective.encode({"a", "bc"});
  const auto start = at::randn({2, 3, 8, 8}, at::kDouble);
  const auto run = [&](DeviceGraph* graph) {
    auto noise = start.clone();
    LoopOptions options;
    options.iterations = 6;
    options.graph = graph;
    std::vector<ImageResult> results;
    // Keeps evaluations, and asks for more of them, as a line search does.
    std::vector<Evaluation> seen;
    optimize_noise(
        objective, prompts, noise,
        [&](at::Tensor& at, const Evaluation& here, const Evaluate& evaluate) {
          seen.push_back(here);
          seen.push_back(evaluate(at - 5.0 * here.gradient));
          at.sub_(seen.front().gradient + seen.back().gradient, 5.0);
        },
        options, results);
    return std::pair(noise, results[1].best.total);
  };
  PretendGraph graph;
  const auto [noise, best] = run(&graph);
  const auto [expected_noise, expected_best] = run(nullptr);
  CHECK(at::equal(noise, expected_noise));
  CHECK(best == expected_best);
  CHECK(graph.records == 1);
  CHECK(graph.replays == 9);
}

TEST_CASE("what cannot be recorded is said, and what to do", "[loop]") {
  const Objective objective = make_objective();
  const auto prompts = objective.encode({"a", "bc"});
  PretendGraph graph;
  graph.refusal = "operation not permitted";
  ReplayedObjective replayed(objective, prompts, &graph);
  const auto noise = at::randn({2, 3, 8, 8}, at::kDouble);
  replayed.measure(noise, true);
  CHECK_THROWS_AS(replayed.measure(noise, true), RunError);
  CHECK_THROWS_WITH(replayed.measure(noise, true),
                    "an iteration of these models cannot be recorded as a CUDA graph; use run.cuda_graph = "
                    "false: operation not permitted");
}

TEST_CASE("a replay is one stage, and recording is none", "[loop]") {
  const auto clock = std::make_shared<StageClock>(at::kCPU);
  const Objective objective = make_objective(clock);
  const auto prompts = objective.encode({"a", "bc"});
  PretendGraph graph;
  ReplayedObjective replayed(objective, prompts, &graph);
  const auto noise = at::randn({2, 3, 8, 8}, at::kDouble);
  replayed.measure(noise, true);
  graph.silent = true;
  clock->start();
  replayed.measure(noise, true);
  std::vector<std::string> names;
  const auto taken = clock->take();
  for (const auto& [name, seconds] : taken.all()) names.push_back(name);
  CHECK(names == std::vector<std::string>{"replay"});
}

}  // namespace
