#include <catch2/catch.hpp>

#include "reno/schedulers/ddpm.hpp"
#include "support/golden.hpp"

using namespace reno;
using namespace reno::schedulers;

namespace {

DDPMScheduler scheduler(const std::string& json) {
  return DDPMScheduler(Config::parse(json, "scheduler_config.json"));
}

}  // namespace

TEST_CASE("DDPM's schedule agrees with diffusers", "[schedulers][goldens]") {
  for (const auto& golden : test::goldens("generators/pixart")) {
    const DDPMScheduler ddpm(Config::read(golden.folder / "dmd/scheduler/scheduler_config.json"));
    const auto expected = golden["sched.ddpm.alphas_cumprod"];
    const auto error = (at::tensor(ddpm.schedule().alphas_cumprod) - expected).abs() / expected;
    test::check_deviation("pixart sched.ddpm.alphas_cumprod", error.max().item<double>(), 1e-6);
    for (const auto& [count, row] : golden.json["schedules"]["ddpm"]["steps"].items())
      CHECK(ddpm.schedule().timesteps(std::stoll(count)) == row["timesteps"].get<std::vector<float>>());
  }
}

TEST_CASE("DDPM: the three kinds of prediction stand for one clean sample", "[schedulers]") {
  const auto clean = at::randn({2, 4, 8, 8}), noise = at::randn({2, 4, 8, 8});
  const auto alpha = scheduler("{}").schedule().alphas_cumprod[400];
  const auto signal = std::sqrt(alpha), level = std::sqrt(1 - alpha);
  const auto sample = signal * clean + level * noise;
  const auto predicted = [&](const std::string& type, const at::Tensor& output) {
    return scheduler(R"({"clip_sample": false, "prediction_type": ")" + type + "\"}")
        .predict_original(output, 400, sample);
  };
  CHECK(at::allclose(predicted("epsilon", noise), clean, 1e-5, 1e-5));
  CHECK(at::allclose(predicted("sample", clean), clean));
  CHECK(at::allclose(predicted("v_prediction", signal * noise - level * clean), clean, 1e-5, 1e-5));
}

TEST_CASE("DDPM clips the clean sample, by default to [-1, 1], and keeps the dtype", "[schedulers]") {
  const auto large = at::tensor({-3.0F, 0.5F, 3.0F});
  const std::string sample = R"("prediction_type": "sample")";
  CHECK(at::equal(scheduler("{" + sample + "}").predict_original(large, 400, large),
                  at::tensor({-1.0F, 0.5F, 1.0F})));
  CHECK(at::equal(
      scheduler("{" + sample + R"(, "clip_sample_range": 2.0})").predict_original(large, 400, large),
      at::tensor({-2.0F, 0.5F, 2.0F})));
  for (const auto dtype : {at::kHalf, at::kBFloat16, at::kDouble}) {
    const auto x = large.to(dtype);
    CHECK(scheduler("{}").predict_original(x, 400, x).scalar_type() == dtype);
  }
}

TEST_CASE("DDPM: what is not implemented or not trained is refused", "[schedulers]") {
  using Catch::Contains;
  CHECK_THROWS_WITH(scheduler(R"({"thresholding": true})"),
                    Contains("thresholding = true is not supported, expected false"));
  const auto x = at::ones({1});
  CHECK_THROWS_AS(scheduler("{}").predict_original(x, 1000, x), ConfigurationError);
  CHECK_THROWS_AS(scheduler("{}").predict_original(x, -1, x), ConfigurationError);
}
