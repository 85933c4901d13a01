// What every optimizer of the core keeps to: noise is moved in place, in its dtype; a batch is N independent
// optimisations; a saved state continues bit for bit; the classic problems are solved.
#include <ATen/ATen.h>

#include <catch2/catch.hpp>
#include <map>
#include <string>
#include <vector>

#include "optimizers/problems.hpp"
#include "reno/registry.hpp"

namespace {

using namespace reno::test;

reno::Registry registry() {
  reno::Registry result;
  reno::register_builtin_optimizers(result);
  return result;
}

/// An optimizer with its defaults, but for numbers given by key where it has such an option.
reno::AnyOptimizer make(const std::string& name, const std::map<std::string, double>& numbers = {}) {
  const auto catalogue = registry();
  const auto& entry = catalogue.optimizers.at(name);
  auto options = entry.options();
  for (auto& field : options.fields()) {
    if (const auto found = numbers.find(field.key); found != numbers.end()) field.set(found->second);
  }
  return entry.create(options, {});
}

const std::vector<std::string> all = {"adam", "lbfgs", "sgd"};

TEST_CASE("the core's optimizers are registered with a summary", "[contract]") {
  const auto catalogue = registry();
  CHECK(catalogue.optimizers.names() == all);
  for (const auto& [name, entry] : catalogue.optimizers) {
    CHECK(entry.origin == "built in");
    CHECK(entry.summary.size() > 20);
    CHECK(entry.summary.size() < 90);
  }
}

TEST_CASE("defaults are the published ones", "[contract]") {
  const auto catalogue = registry();
  const auto defaults = [&](const std::string& name) {
    std::map<std::string, reno::OptionValue> values;
    const auto options = catalogue.optimizers.at(name).options();
    for (const auto& field : options.fields()) values[field.key] = field.get();
    return values;
  };
  using Values = std::map<std::string, reno::OptionValue>;
  CHECK((defaults("sgd") == Values{{"lr", 5.0}, {"momentum", 0.9}, {"nesterov", true}, {"grad_clip", 0.1}}));
  CHECK((defaults("adam") ==
         Values{{"lr", 5.0}, {"beta1", 0.9}, {"beta2", 0.999}, {"eps", 1e-2}, {"grad_clip", 0.1}}));
  CHECK((defaults("lbfgs") == Values{{"lr", 1.0},
                                     {"max_iter", std::int64_t{10}},
                                     {"max_evaluations", {}},
                                     {"max_evaluations_line_search", std::int64_t{25}},
                                     {"history_size", std::int64_t{3}},
                                     {"tolerance_grad", 1e-7},
                                     {"tolerance_change", 1e-9},
                                     {"grad_clip", 0.0}}));
}

TEST_CASE("a batch is N independent optimisations", "[contract]") {
  for (const auto& name : all) {
    for (const Problem& problem : {quadratic(), ill_conditioned(), rosenbrock()}) {
      INFO(name << " on " << problem.name);
      at::manual_seed(3);
      std::vector<at::Tensor> starts;
      for (int i = 0; i < 4; ++i) starts.push_back(problem.start + 0.3 * i * at::randn_like(problem.start));
      starts[2] = problem.minimum.clone();  // this one is done before the others have begun
      const auto evaluate = batched(problem.function);

      at::Tensor batch = at::stack(starts);
      auto together = make(name, {{"lr", 0.5}});
      run(together, batch, evaluate, 8);
      for (std::int64_t i = 0; i < 4; ++i) {
        at::Tensor single = starts[static_cast<std::size_t>(i)].clone().unsqueeze(0);
        auto alone = make(name, {{"lr", 0.5}});
        run(alone, single, evaluate, 8);
        INFO("image " << i);
        CHECK(largest_difference(batch[i], single[0]) <= 1e-12);
      }
    }
  }
}

TEST_CASE("noise is moved in place and keeps its dtype, shape and leafhood", "[contract]") {
  const Problem problem = quadratic({4, 3, 2});
  for (const auto& name : all) {
    for (const auto dtype : {at::kFloat, at::kDouble}) {
      INFO(name << " " << at::toString(dtype));
      at::Tensor noise = at::zeros({2, 4, 3, 2}, dtype).requires_grad_();
      const void* data = noise.const_data_ptr();
      auto optimizer = make(name);
      run(optimizer, noise, batched(problem.function), 2);
      CHECK(noise.const_data_ptr() == data);
      CHECK(noise.scalar_type() == dtype);
      CHECK((noise.sizes() == at::IntArrayRef{2, 4, 3, 2}));
      CHECK(noise.is_leaf());
      CHECK(noise.detach().abs().min().item<double>() > 0.0);
      for (const auto& tensor : optimizer.state()) CHECK_FALSE(tensor.requires_grad());
    }
  }
}

TEST_CASE("a saved state continues bit for bit", "[contract]") {
  for (const auto& name : all) {
    for (const auto dtype : {at::kFloat, at::kDouble}) {
      for (const int before : {0, 1, 5}) {
        INFO(name << " " << at::toString(dtype) << " after " << before << " steps");
        const auto evaluate = batched([c = ill_conditioned(100.0).function](const at::Tensor& x) {
          auto [loss, gradient] = c(x);
          return std::pair(loss.to(x.scalar_type()), gradient.to(x.scalar_type()));
        });
        at::manual_seed(1);
        at::Tensor noise = at::randn({3, 8}, dtype);
        auto optimizer = make(name, {{"lr", 0.1}});
        run(optimizer, noise, evaluate, before);

        const auto state = optimizer.state();
        CHECK(state.empty() == (before == 0));
        at::Tensor resumed_noise = noise.clone();
        run(optimizer, noise, evaluate, 4);

        auto resumed = make(name, {{"lr", 0.1}});
        resumed.restore(state);  // saved before the four steps: it must not have moved with them
        run(resumed, resumed_noise, evaluate, 4);
        CHECK(at::equal(noise, resumed_noise));
        const auto a = optimizer.state(), b = resumed.state();
        REQUIRE(a.size() == b.size());
        for (std::size_t i = 0; i < a.size(); ++i) CHECK(at::equal(a[i], b[i]));
      }
    }
  }
}

TEST_CASE("restoring an empty state starts anew", "[contract]") {
  const auto evaluate = batched(rosenbrock().function);
  for (const auto& name : all) {
    INFO(name);
    at::Tensor first = rosenbrock().start.unsqueeze(0).clone(), second = first.clone();
    auto optimizer = make(name, {{"lr", 0.01}});
    run(optimizer, first, evaluate, 3);
    optimizer.restore({});
    run(optimizer, second, evaluate, 3);
    CHECK(at::equal(first, second));
  }
}

TEST_CASE("a state that does not fit is refused", "[contract]") {
  for (const auto& name : all) {
    INFO(name);
    auto optimizer = make(name);
    CHECK_THROWS_AS(optimizer.restore({at::zeros({1}), at::zeros({1})}), reno::LoadError);
    CHECK_THROWS_WITH(optimizer.restore({at::zeros({1}), at::zeros({1})}), Catch::Contains("'" + name + "'"));

    const Problem problem = quadratic({3});
    at::Tensor noise = at::zeros({1, 3}, at::kDouble), more = at::zeros({2, 3}, at::kDouble);
    run(optimizer, noise, batched(problem.function), 1);
    CHECK_THROWS_AS(run(optimizer, more, batched(problem.function), 1), reno::RunError);
    CHECK(more.abs().max().item<double>() == 0.0);
  }
}

TEST_CASE("the classic problems are solved", "[contract]") {
  struct Case {
    std::string optimizer;
    Problem problem;
    std::map<std::string, double> options;
    int steps;
    double tolerance;
  };
  const std::vector<Case> cases = {
      {"sgd", quadratic(), {{"lr", 0.1}, {"grad_clip", 0.0}}, 300, 1e-9},
      {"adam", quadratic(), {{"lr", 0.1}, {"grad_clip", 0.0}}, 1000, 1e-6},
      {"lbfgs", quadratic(), {}, 2, 1e-7},
      {"sgd", ill_conditioned(100.0), {{"lr", 0.01}, {"grad_clip", 0.0}}, 500, 1e-6},
      {"adam", ill_conditioned(100.0), {{"lr", 0.01}, {"grad_clip", 0.0}}, 2000, 1e-6},
      {"lbfgs", ill_conditioned(1e4), {{"tolerance_change", 1e-16}}, 60, 1e-3},
      {"sgd", rosenbrock(), {{"lr", 1e-3}, {"grad_clip", 0.0}}, 5000, 1e-3},
      {"adam", rosenbrock(), {{"lr", 1e-2}, {"grad_clip", 0.0}}, 10000, 1e-3},
      {"lbfgs", rosenbrock(), {{"tolerance_change", 1e-16}}, 10, 1e-6},
  };
  for (const auto& [name, problem, options, steps, tolerance] : cases) {
    INFO(name << " on " << problem.name);
    at::Tensor noise = problem.start.unsqueeze(0).clone();
    auto optimizer = make(name, options);
    run(optimizer, noise, batched(problem.function), steps);
    CHECK(largest_difference(noise[0], problem.minimum) < tolerance);
  }
}

TEST_CASE("SGD and Adam read no value back: they step on tensors without data", "[contract]") {
  for (const std::string name : {"sgd", "adam"}) {
    INFO(name);
    at::Tensor noise = at::empty({2, 4, 8, 8}, at::TensorOptions(at::kMeta));
    const reno::Evaluation evaluation{at::empty({2}, at::TensorOptions(at::kMeta)), at::empty_like(noise)};
    auto optimizer = make(name);
    for (int i = 0; i < 2; ++i) CHECK_NOTHROW(optimizer.step(noise, evaluation, {}));
  }
}

}  // namespace
