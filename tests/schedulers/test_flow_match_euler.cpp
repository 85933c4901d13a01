#include <catch2/catch.hpp>
#include <filesystem>

#include "reno/schedulers/denoise.hpp"
#include "reno/schedulers/flow_match_euler.hpp"
#include "support/golden.hpp"

using namespace reno;
using namespace reno::schedulers;

namespace {

FlowMatchEulerScheduler scheduler(const std::string& json) {
  return FlowMatchEulerScheduler(Config::parse(json, "scheduler_config.json"));
}

}  // namespace

TEST_CASE("The schedule of the rectified flow agrees with diffusers", "[schedulers][goldens]") {
  for (const auto& golden : test::goldens("generators/flux-schnell")) {
    const FlowMatchEulerScheduler flow(Config::read(golden.folder / "model/scheduler/scheduler_config.json"));
    for (const auto& [count, row] : golden.json["schedules"]["flow"]["steps"].items()) {
      const auto steps = flow.set_timesteps(std::stoll(count));
      INFO(count << " steps");
      CHECK(at::equal(at::tensor(steps.timesteps), golden["sched.flow." + count + ".timesteps"]));
      test::check_absolute("flux-schnell sched.flow." + count + ".sigmas", at::tensor(steps.sigmas),
                           golden["sched.flow." + count + ".sigmas"], 1e-6);
      CHECK(steps.init_noise_sigma == row["init_noise_sigma"].get<float>());
    }
  }
}

TEST_CASE("A shifted flow spends its steps at the noisy end", "[schedulers]") {
  const auto steps = scheduler(R"({"shift": 3.0})").set_timesteps(4);
  for (std::size_t i = 0; i < 4; ++i) {
    const double even = 1 - 0.25 * static_cast<double>(i);
    CHECK(steps.sigmas[i] == Approx(3 * even / (1 + 2 * even)).epsilon(1e-6));
    CHECK(steps.timesteps[i] == Approx(1000 * steps.sigmas[i]));
  }
  CHECK(steps.sigmas[4] == 0);
}

TEST_CASE("A perfect velocity leads to the data in any number of steps", "[schedulers]") {
  const auto noise = at::randn({1, 6, 8}), data = at::randn({1, 6, 8});
  for (const std::int64_t count : {1, 2, 7}) {
    const auto steps = scheduler("{}").set_timesteps(count);
    CHECK(steps.size() == static_cast<std::size_t>(count));
    const auto velocity = [&](const at::Tensor&, std::size_t) { return noise - data; };
    CHECK(at::allclose(denoise(steps, noise, velocity), data, 1e-5, 1e-5));
  }
}

TEST_CASE("The flow's step is rounded to the network's dtype and keeps float64", "[schedulers]") {
  const auto steps = scheduler("{}").set_timesteps(2);
  for (const auto dtype : {at::kHalf, at::kBFloat16, at::kFloat, at::kDouble}) {
    const auto x = at::randn({1, 4, 4}).to(dtype);
    CHECK(steps.step(x, 0, x).scalar_type() == dtype);
  }
}

TEST_CASE("A flow's schedule that is not implemented is refused", "[schedulers]") {
  CHECK_THROWS_WITH(scheduler(R"({"use_dynamic_shifting": true})"),
                    Catch::Contains("scheduler_config.json: use_dynamic_shifting = true is not supported"));
  CHECK_THROWS_AS(scheduler("{}").set_timesteps(0), ConfigurationError);
  CHECK_THROWS_AS(scheduler("{}").set_timesteps(1001), ConfigurationError);
}
