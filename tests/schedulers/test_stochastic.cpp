// The samplers that add noise between their steps: Euler ancestral and LCM.
#include <catch2/catch.hpp>

#include "reno/schedulers/denoise.hpp"
#include "reno/schedulers/euler_ancestral_discrete.hpp"
#include "reno/schedulers/lcm.hpp"
#include "reno/schedulers/sampler_noise.hpp"
#include "support/golden.hpp"

using namespace reno;
using namespace reno::schedulers;

static_assert(Stochastic<EulerAncestralDiscreteSteps> && Stochastic<LCMSteps>);
static_assert(!Stochastic<EulerDiscreteSteps>);

namespace {

Config config(const std::string& json) { return Config::parse(json, "scheduler_config.json"); }

const std::string betas = R"({"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear")";

double relative(const at::Tensor& got, const at::Tensor& expected) {
  return ((got - expected).abs() / expected.abs().clamp_min(1e-30)).max().item<double>();
}

}  // namespace

TEST_CASE("Euler ancestral schedules agree with diffusers", "[schedulers][goldens]") {
  for (const auto& golden : test::goldens("generators/sdxl-turbo")) {
    const EulerAncestralDiscreteScheduler turbo(
        Config::read(golden.folder / "model/scheduler/scheduler_config.json"));
    const EulerDiscreteScheduler base(
        Config::read(golden.folder / "sdxl-base/scheduler/scheduler_config.json"));
    const auto check = [&](const std::string& label, const auto& scheduler) {
      const auto name = "sched." + label;
      test::check_deviation(
          golden.name + " " + name + ".alphas_cumprod",
          relative(at::tensor(scheduler.schedule().alphas_cumprod), golden[name + ".alphas_cumprod"]), 1e-6);
      for (const auto& [count, row] : golden.json["schedules"][label]["steps"].items()) {
        const EulerDiscreteSteps steps = scheduler.set_timesteps(std::stoll(count));
        INFO(name << " with " << count << " steps");
        CHECK(at::equal(at::tensor(steps.timesteps), golden[name + "." + count + ".timesteps"]));
        test::check_deviation(golden.name + " " + name + "." + count + ".sigmas",
                              relative(at::tensor(steps.sigmas), golden[name + "." + count + ".sigmas"]),
                              1e-6);
        const double start = row["init_noise_sigma"];
        CHECK(steps.init_noise_sigma == Approx(start).epsilon(1e-6));
      }
    };
    check("turbo", turbo);
    check("sdxl_base", base);
  }
}

TEST_CASE("LCM schedules agree with diffusers", "[schedulers][goldens]") {
  for (const auto& golden : test::goldens("generators/hyper-sd")) {
    const LCMScheduler scheduler(Config::read(golden.folder / "base/scheduler/scheduler_config.json"));
    test::check_deviation(
        golden.name + " sched.lcm.alphas_cumprod",
        relative(at::tensor(scheduler.schedule().alphas_cumprod), golden["sched.lcm.alphas_cumprod"]), 1e-6);
    for (const std::int64_t count : {1, 4, 50}) {
      const auto steps = scheduler.set_timesteps(count);
      const auto expected = golden["sched.lcm." + std::to_string(count) + ".timesteps"];
      CHECK(at::equal(at::tensor(steps.timesteps), expected.to(at::kFloat)));
      CHECK(steps.init_noise_sigma == 1);
    }
    const auto custom = scheduler.at_timesteps({800});
    CHECK(custom.timesteps == std::vector<float>{800});
    CHECK(custom.levels[0].c_out == 1);
    CHECK(custom.levels[0].c_skip == Approx(3.9e-9).epsilon(0.01));
  }
}

TEST_CASE("One ancestral step is Euler's, and asks for no noise", "[schedulers]") {
  const auto trailing = config(betas + R"(, "timestep_spacing": "trailing"})");
  const auto noise = at::randn({2, 4, 3, 3}), output = at::randn({2, 4, 3, 3});
  const auto predict = [&](const at::Tensor&, std::size_t) { return output; };
  const auto euler = EulerDiscreteScheduler(trailing).set_timesteps(1);
  const auto ancestral = EulerAncestralDiscreteScheduler(trailing).set_timesteps(1);
  CHECK(at::equal(denoise(ancestral, noise, predict), denoise(euler, noise, predict)));
}

TEST_CASE("Between steps, samples have the variance of their level", "[schedulers]") {
  // A network that knows the clean sample (zero here): what is left is noise alone.
  const auto process = config(betas + R"(, "timestep_spacing": "trailing", "prediction_type": "sample"})");
  const auto clean = at::zeros({1, 4, 64, 64});
  const auto noise = at::randn({1, 4, 64, 64});
  SamplerNoise fresh(3);
  const auto ancestral = EulerAncestralDiscreteScheduler(process).set_timesteps(4);
  at::Tensor sample = noise * ancestral.init_noise_sigma;
  for (std::size_t i = 0; i + 1 < ancestral.size(); ++i) {
    sample = ancestral.step(clean, i, sample, fresh(clean));
    CHECK(sample.std().item<double>() == Approx(ancestral.sigmas[i + 1]).epsilon(0.03));
  }
  const auto lcm = LCMScheduler(process).set_timesteps(4);
  sample = noise;
  for (std::size_t i = 0; i + 1 < lcm.size(); ++i) {
    sample = lcm.step(clean, i, sample, fresh(clean));
    CHECK(sample.std().item<double>() == Approx(lcm.levels[i + 1].noise).epsilon(0.03));
  }
  CHECK(lcm.step(clean, 3, sample, {}).abs().max().item<double>() < 1e-5);
}

TEST_CASE("LCM: the three kinds of prediction describe one step", "[schedulers]") {
  const auto noise = at::randn({2, 4, 8, 8}), clean = at::randn({2, 4, 8, 8});
  const auto step = [&](const std::string& type, const at::Tensor& output, const at::Tensor& sample) {
    return LCMScheduler(config(betas + R"(, "prediction_type": ")" + type + "\"}"))
        .at_timesteps({800})
        .step(output, 0, sample, {});
  };
  const auto level = LCMScheduler(config(betas + "}")).at_timesteps({800}).levels[0];
  const auto sample = clean * level.signal + noise * level.noise;
  const auto velocity = noise * level.signal - clean * level.noise;
  CHECK(at::allclose(step("epsilon", noise, sample), clean, 1e-4, 1e-4));
  CHECK(at::allclose(step("sample", clean, sample), clean, 1e-5, 1e-5));
  CHECK(at::allclose(step("v_prediction", velocity, sample), clean, 1e-5, 1e-5));
}

TEST_CASE("LCM clips its prediction where the configuration says so", "[schedulers]") {
  const auto steps = LCMScheduler(config(betas + R"(, "prediction_type": "sample", "clip_sample": true})"))
                         .at_timesteps({800});
  const auto clean = at::full({1, 4, 2, 2}, 3.0);
  CHECK(steps.step(clean, 0, at::zeros_like(clean), {}).max().item<double>() == Approx(1));
}

TEST_CASE("Every image of a batch gets the sampler's noise of an image alone", "[schedulers]") {
  SamplerNoise one(7), three(7);
  const auto single = at::empty({1, 4, 5, 6}), batch = at::empty({3, 4, 5, 6}, at::kHalf);
  for (int draw = 0; draw < 2; ++draw) {
    const auto alone = one(single), together = three(batch);
    CHECK(together.scalar_type() == at::kHalf);
    CHECK(at::equal(together, alone.to(at::kHalf).expand({3, 4, 5, 6})));
  }
}

TEST_CASE("Stochastic schedules that are not implemented are refused", "[schedulers]") {
  using Catch::Contains;
  CHECK_THROWS_WITH(LCMScheduler(config(R"({"thresholding": true})")), Contains("thresholding = true"));
  CHECK_THROWS_WITH(LCMScheduler(config(R"({"num_train_timesteps": 20})")),
                    Contains("original_inference_steps = 50 is more than num_train_timesteps = 20"));
  CHECK_THROWS_WITH(EulerAncestralDiscreteScheduler(config(R"({"final_sigmas_type": "sigma_min"})")),
                    Contains("final_sigmas_type"));
  CHECK_THROWS_WITH(LCMScheduler(config("{}")).set_timesteps(51),
                    Contains("51 sampling steps are not in [1, 50]"));
  CHECK_THROWS_WITH(LCMScheduler(config("{}")).at_timesteps({1000}),
                    Contains("time step 1000 is not one of"));
}
