#include <catch2/catch.hpp>

#include "reno/schedulers/denoise.hpp"
#include "reno/schedulers/euler_discrete.hpp"
#include "support/golden.hpp"

using namespace reno;
using namespace reno::schedulers;

namespace {

EulerDiscreteScheduler scheduler(const std::string& json) {
  return EulerDiscreteScheduler(Config::parse(json, "scheduler_config.json"));
}

const std::string turbo = R"({"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
                              "timestep_spacing": "trailing")";

double relative(const at::Tensor& got, const at::Tensor& expected) {
  return ((got - expected).abs() / expected.abs().clamp_min(1e-30)).max().item<double>();
}

void check_schedule(const test::Golden& golden, const std::string& label, const std::string& folder) {
  const EulerDiscreteScheduler scheduler(Config::read(golden.folder / folder / "scheduler_config.json"));
  const std::string name = "sched." + label;
  test::check_deviation(
      golden.name + " " + name + ".alphas_cumprod",
      relative(at::tensor(scheduler.schedule().alphas_cumprod), golden[name + ".alphas_cumprod"]), 1e-6);
  for (const auto& [count, row] : golden.json["schedules"][label]["steps"].items()) {
    const auto steps = scheduler.set_timesteps(std::stoll(count));
    INFO(name << " with " << count << " steps");
    CHECK(at::equal(at::tensor(steps.timesteps), golden[name + "." + count + ".timesteps"]));
    test::check_deviation(golden.name + " " + name + "." + count + ".sigmas",
                          relative(at::tensor(steps.sigmas), golden[name + "." + count + ".sigmas"]), 1e-6);
    CHECK(steps.init_noise_sigma == Approx(row["init_noise_sigma"].get<double>()).epsilon(1e-6));
  }
}

}  // namespace

TEST_CASE("Euler schedules agree with diffusers", "[schedulers][goldens]") {
  for (const auto& golden : test::goldens("generators/sd-turbo")) {
    check_schedule(golden, "turbo", "model/scheduler");
    check_schedule(golden, "sd2_base", "sd2-base/scheduler");
  }
}

TEST_CASE("Leading spacing starts at sqrt(sigma² + 1)", "[schedulers]") {
  const auto leading =
      scheduler(R"({"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
                                     "timestep_spacing": "leading", "steps_offset": 1})");
  const auto steps = leading.set_timesteps(4);
  CHECK(steps.timesteps == std::vector<float>{751, 501, 251, 1});
  CHECK(steps.init_noise_sigma == Approx(4.236).epsilon(1e-3));
  CHECK(leading.set_timesteps(50).init_noise_sigma == Approx(13.158).epsilon(1e-4));
}

TEST_CASE("The three kinds of prediction describe one step", "[schedulers]") {
  const auto noise = at::randn({2, 4, 8, 8}), clean = at::randn({2, 4, 8, 8});
  const auto step = [&](const std::string& type, const at::Tensor& output, const at::Tensor& sample) {
    return scheduler(turbo + R"(, "prediction_type": ")" + type + "\"}")
        .set_timesteps(1)
        .step(output, 0, sample);
  };
  const float sigma = scheduler(turbo + "}").set_timesteps(1).sigmas[0];
  const auto sample = clean + sigma * noise;
  // x = alpha (clean + sigma noise) with alpha = 1 / sqrt(sigma² + 1); v = alpha noise - sigma alpha clean
  const auto velocity = (noise - sigma * clean) / std::sqrt(sigma * sigma + 1);
  CHECK(at::allclose(step("epsilon", noise, sample), clean, 1e-5, 1e-5));
  CHECK(at::allclose(step("sample", clean, sample), clean, 1e-5, 1e-5));
  CHECK(at::allclose(step("v_prediction", velocity, sample), clean, 1e-5, 1e-5));
}

TEST_CASE("A perfect network leads to the clean sample in any number of steps", "[schedulers]") {
  const auto noise = at::randn({1, 4, 8, 8}), clean = at::randn({1, 4, 8, 8});
  for (const std::int64_t count : {1, 2, 7}) {
    const auto steps = scheduler(turbo + R"(, "prediction_type": "sample"})").set_timesteps(count);
    CHECK(at::allclose(denoise(steps, noise, [&](const at::Tensor&, std::size_t) { return clean; }), clean,
                       1e-4, 1e-4));
  }
}

TEST_CASE("The step is rounded to the network's dtype and keeps float64", "[schedulers]") {
  const auto steps = scheduler(turbo + "}").set_timesteps(1);
  for (const auto dtype : {at::kHalf, at::kBFloat16, at::kFloat, at::kDouble}) {
    const auto x = at::randn({1, 4, 4, 4}).to(dtype);
    CHECK(steps.step(x, 0, x).scalar_type() == dtype);
    CHECK(steps.scale_model_input(x, 0).scalar_type() == dtype);
  }
}

TEST_CASE("A schedule that is not implemented is refused", "[schedulers]") {
  using Catch::Contains;
  CHECK_THROWS_WITH(
      scheduler(R"({"beta_schedule": "cosine"})"),
      Contains("scheduler_config.json: beta_schedule = 'cosine'") && Contains("have: linear, scaled_linear"));
  CHECK_THROWS_WITH(scheduler(R"({"use_karras_sigmas": true})"),
                    Contains("use_karras_sigmas = true is not supported, expected false"));
  CHECK_THROWS_WITH(scheduler(R"({"rescale_betas_zero_snr": true})"), Contains("rescale_betas_zero_snr"));
  CHECK_THROWS_WITH(scheduler(R"({"num_train_timesteps": 3, "trained_betas": [0.1, 0.2]})"),
                    Contains("trained_betas has 2 elements, but num_train_timesteps = 3"));
  CHECK_THROWS_AS(scheduler("{}").set_timesteps(0), ConfigurationError);
  CHECK_THROWS_AS(scheduler("{}").set_timesteps(1001), ConfigurationError);
}
