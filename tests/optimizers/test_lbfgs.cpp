// L-BFGS beyond the contract that all optimizers share: batched evaluations, limits, and points that are not
// finite.
#include <ATen/ATen.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "optimizers/problems.hpp"

namespace {

using namespace reno::test;
using reno::LBFGS;

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

TEST_CASE("L-BFGS: a batch costs as many evaluations as its slowest image", "[lbfgs]") {
  const Problem problem = rosenbrock();
  const at::Tensor starts = at::tensor({-1.2, 1.0, 0.9, 0.9, 3.0, -2.0, 1.0, 1.0}, at::kDouble).view({4, 2});
  std::int64_t slowest = 0, sum = 0, together = 0;
  for (const auto& start : starts.unbind(0)) {
    std::int64_t calls = 0;
    at::Tensor noise = start.unsqueeze(0).clone();
    LBFGS optimizer({}, {});
    run(optimizer, noise, batched(problem.function, &calls), 1);
    slowest = std::max(slowest, calls);
    sum += calls;
  }
  at::Tensor noise = starts.clone();
  LBFGS optimizer({}, {});
  run(optimizer, noise, batched(problem.function, &together), 1);
  CHECK(together == slowest);
  CHECK(together < sum);
  CHECK(at::equal(noise[3], starts[3]));  // it began at the minimum
}

TEST_CASE("L-BFGS: limits on evaluations hold", "[lbfgs]") {
  for (const std::int64_t limit : {1, 3, 12}) {
    std::int64_t calls = 0;
    LBFGS::Options options;
    options.max_evaluations = limit;
    options.max_evaluations_line_search = 0;  // what is left
    at::Tensor noise = rosenbrock().start.unsqueeze(0).clone();
    LBFGS optimizer(options, {});
    run(optimizer, noise, batched(rosenbrock().function, &calls), 1);
    INFO("limit " << limit);
    CHECK(calls >= 2);
    CHECK(calls <= limit + 1);  // a search asks once before it counts
  }
  std::int64_t calls = 0;
  LBFGS::Options options;
  options.max_iter = 1;
  at::Tensor noise = quadratic().start.unsqueeze(0).clone();
  LBFGS optimizer(options, {});
  run(optimizer, noise, batched(quadratic().function, &calls), 1);
  CHECK(calls <= 3);
}

TEST_CASE("L-BFGS: trial points that are not finite are avoided, and the best point is kept", "[lbfgs]") {
  const Problem bowl = quadratic({2});
  const auto walled = [&](double bad_loss, double bad_gradient) {
    return [=](const at::Tensor& x) {  // finite only up to 2, while the minimum lies at 3
      if (x.max().item<double>() <= 2.0) return bowl.function(x);
      return std::pair(at::scalar_tensor(bad_loss, x.options()), at::full_like(x, bad_gradient));
    };
  };
  for (const auto& [loss, gradient] : {std::pair{nan, nan}, {-nan, 0.0}, {-1e9, nan}, {HUGE_VAL, 1.0}}) {
    INFO(loss << " " << gradient);
    at::Tensor noise = at::tensor({0.0, 0.0, 3.0, 3.0}, at::kDouble).view({2, 2});
    const auto evaluate =
        batched([&, loss = loss, gradient = gradient, calls = 0](const at::Tensor& x) mutable {
          return calls++ % 2 == 0 ? walled(loss, gradient)(x)
                                  : bowl.function(x);  // the second image has no wall
        });
    LBFGS optimizer({}, {});
    run(optimizer, noise, evaluate, 4);
    CHECK(noise.isfinite().all().item<bool>());
    CHECK(noise[0].max().item<double>() <= 2.0);
    CHECK(noise[0].min().item<double>() > 1.0);
    CHECK(largest_difference(noise[1], bowl.minimum) == 0.0);
    for (const auto& tensor : optimizer.state()) CHECK(tensor.isfinite().all().item<bool>());
  }
}

TEST_CASE("L-BFGS: where no step is possible the noise stays", "[lbfgs]") {
  at::Tensor noise = at::ones({1, 2}, at::kDouble);
  const auto evaluate = batched([](const at::Tensor& x) {
    const bool start = at::equal(x, at::ones({2}, at::kDouble));
    return std::pair(at::scalar_tensor(start ? 1.0 : nan, x.options()), at::full_like(x, start ? 1.0 : nan));
  });
  LBFGS optimizer({}, {});
  run(optimizer, noise, evaluate, 3);
  CHECK(at::equal(noise, at::ones({1, 2}, at::kDouble)));
}

TEST_CASE("L-BFGS: does not begin where loss or gradient are not finite", "[lbfgs]") {
  LBFGS optimizer({}, {});
  at::Tensor noise = at::zeros({2, 3});
  at::Tensor gradient = at::ones({2, 3});
  gradient[1][2] = nan;
  const auto never = [](const at::Tensor&) -> reno::Evaluation { throw std::logic_error("evaluated"); };
  CHECK_THROWS_AS(optimizer.step(noise, {at::zeros({2}), gradient}, never), reno::RunError);
  CHECK_THROWS_WITH(optimizer.step(noise, {at::zeros({2}), gradient}, never), Catch::Contains("image 1"));
  CHECK_THROWS_WITH(optimizer.step(noise, {at::full({2}, nan), at::ones({2, 3})}, never),
                    Catch::Contains("image 0"));
}

TEST_CASE("L-BFGS: a failing evaluation leaves noise and state as they were", "[lbfgs]") {
  const Problem problem = rosenbrock();
  at::Tensor noise = problem.start.unsqueeze(0).clone();
  LBFGS optimizer({}, {});
  run(optimizer, noise, batched(problem.function), 1);
  const at::Tensor before = noise.clone();
  const auto state = optimizer.state();
  const auto evaluate = batched(problem.function);
  int calls = 0;
  const reno::Evaluate failing = [&](const at::Tensor& x) {
    if (++calls == 4) throw std::runtime_error("interrupted");
    return evaluate(x);
  };
  CHECK_THROWS_WITH(optimizer.step(noise, evaluate(noise), failing), "interrupted");
  CHECK(at::equal(noise, before));
  const auto after = optimizer.state();
  for (std::size_t i = 0; i < state.size(); ++i) CHECK(at::equal(state[i], after[i]));
}

TEST_CASE("L-BFGS: states of another history size, and damaged ones, are refused", "[lbfgs]") {
  at::Tensor noise = rosenbrock().start.unsqueeze(0).clone();
  LBFGS optimizer({}, {});
  run(optimizer, noise, batched(rosenbrock().function), 1);
  auto state = optimizer.state();
  REQUIRE(state.size() == 5);
  LBFGS::Options longer;
  longer.history_size = 4;
  LBFGS other(longer, {});
  CHECK_THROWS_AS(other.restore(state), reno::LoadError);
  for (const double pairs : {4.0, -1.0, nan}) {
    state[4][0][1] = pairs;
    CHECK_THROWS_AS(optimizer.restore(state), reno::LoadError);
  }
}

}  // namespace
