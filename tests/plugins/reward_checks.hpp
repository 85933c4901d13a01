// What is checked of every reward plugin: the numbers of the Python libraries, and the contract of
// reno/concepts.hpp (images are independent, gradients are right, dtypes and devices are kept).
#pragma once

#include <ATen/ATen.h>
#include <spdlog/sinks/ostream_sink.h>
#include <torch/csrc/autograd/autograd.h>

#include <catch2/catch.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "reno/concepts.hpp"
#include "reno/context.hpp"
#include "reno/nn/meta_kernels.hpp"
#include "support/golden.hpp"
#include "support/gpu.hpp"

namespace reno::test {

/// A context whose log is kept: by the log itself, since what is made with a context outlives it.
class LoggedContext : public Context {
 public:
  explicit LoggedContext(at::ScalarType dtype_ = at::kFloat, at::Device device_ = at::kCPU) {
    dtype = dtype_;
    device = device_;
    log = std::shared_ptr<spdlog::logger>(kept_, &kept_->logger);
    log->set_pattern("%l: %v");
  }
  std::string logged() const { return kept_->text.str(); }

 private:
  struct Kept {
    std::ostringstream text;
    spdlog::logger logger{"test", std::make_shared<spdlog::sinks::ostream_sink_st>(text)};
  };
  std::shared_ptr<Kept> kept_ = std::make_shared<Kept>();
};

/// A reward from the weights in `folder`.
template <class R>
R open_from(const std::filesystem::path& folder, const Context& context) {
  typename R::Options options;
  options.weights = folder;
  return R(options, context);
}

inline std::filesystem::path repository_golden(const std::string& name) {
  return std::filesystem::path(RENO_TEST_DATA) / "goldens/a/rewards" / name;
}

inline Prompts prompts_of(const nlohmann::json& golden_case) {
  const auto& prompt = golden_case["prompt"];
  return prompt.is_string() ? Prompts{prompt.get<std::string>()} : prompt.get<Prompts>();
}

/// Mean score of all images with all prompts, the mean of their matrix, as the published losses take it.
template <Reward R>
at::Tensor mean_over_pairs(R& reward, const at::Tensor& pixels, const Prompts& prompts) {
  std::vector<at::Tensor> scores;
  for (const auto& prompt : prompts) {
    const Prompts same(static_cast<std::size_t>(pixels.size(0)), prompt);
    scores.push_back(reward.score(pixels, reward.encode(same)));
  }
  return at::stack(scores).mean();
}

struct Tolerances {
  double loss;
  double gradient = 1e-4;  ///< relative 2-norm
};

/// Losses and gradients of every stored case, for a reward on `device`. `objective(reward, pixels, prompts)`
/// is the mean score that the loss is made of.
template <Reward R, class Objective>
void check_golden(const std::string& name, R& reward, const Golden& golden, const Tolerances& tolerances,
                  Objective objective, at::Device device = at::kCPU) {
  const auto check = [&](const std::string& quantity, const at::Tensor& got, const at::Tensor& expected,
                         Measure measure, double tolerance) {
    check_close(on_device(name + " " + quantity, device), got, expected, measure,
                on_device(tolerance, device));
  };
  int compared = 0;
  for (const auto& golden_case : golden.json["cases"]) {
    const auto key = fmt::format("case{}.", golden_case["case"].get<int>());
    const auto image_name = fmt::format("image{}", golden_case["image"].get<int>());
    INFO(golden.preset << " " << key);
    if (!golden.has(image_name)) continue;
    const auto image = golden[image_name].clone().to(device).requires_grad_(true);
    auto pixels = preprocess(image, reward.preprocess());
    pixels.retain_grad();
    const auto loss = R::ceiling - objective(reward, pixels, prompts_of(golden_case));
    check("loss", loss, golden[key + "loss"], Measure::absolute, tolerances.loss);
    if (golden.has(key + "grad_image")) {
      torch::autograd::backward({loss});
      check("grad_image", image.grad(), golden[key + "grad_image"], Measure::relative_norm,
            tolerances.gradient);
    }
    if (golden.has(key + "grad_pixel_values")) {
      const auto thinned = pixels.grad().slice(2, 0, std::nullopt, 4).slice(3, 0, std::nullopt, 4);
      check("grad_pixel_values", thinned, golden[key + "grad_pixel_values"], Measure::relative_norm,
            tolerances.gradient);
    }
    if (golden.has(key + "pixel_values"))
      check("pixel_values", pixels, golden[key + "pixel_values"], Measure::absolute, 2e-6);
    ++compared;
  }
  CHECK(compared >= 1);
}

inline at::Tensor test_pixels(std::int64_t count, const Preprocess& spec) {
  at::manual_seed(0);
  return at::randn({count, 3, spec.size, spec.size}, at::TensorOptions(at::kDouble));
}

/// score i depends on pixels i and prompt i only.
template <class R>
void check_batch(R& reward, const at::Tensor& pixels, const Prompts& prompts) {
  const at::Tensor scores = reward.score(pixels, reward.encode(prompts));
  REQUIRE(scores.sizes() == at::IntArrayRef{pixels.size(0)});
  for (std::int64_t i = 0; i < pixels.size(0); ++i) {
    const at::Tensor alone =
        reward.score(pixels.narrow(0, i, 1), reward.encode({prompts[static_cast<std::size_t>(i)]}));
    CHECK(alone.item<double>() == Approx(scores[i].item<double>()).epsilon(1e-9));
  }
}

/// The directional derivative in float64 against a central difference.
template <class R>
void check_gradient(R& reward, at::Tensor pixels, const Prompts& prompts) {
  pixels.requires_grad_(true);
  const auto features = reward.encode(prompts);
  CHECK(reward.score(pixels.detach(), features).requires_grad() == false);  // nothing else wants a gradient
  torch::autograd::backward({reward.score(pixels, features).sum()});
  const at::Tensor direction = at::randn_like(pixels);
  const double step = 1e-5;  // the error falls with its square, down to rounding
  const auto at_distance = [&](double distance) {
    const at::Tensor score = reward.score(pixels.detach() + distance * direction, features).sum();
    return score.item<double>();
  };
  const double difference = (at_distance(step) - at_distance(-step)) / (2 * step);
  const double slope = (pixels.grad() * direction).sum().item<double>();
  CHECK(slope == Approx(difference).epsilon(1e-5));
}

/// Half precision comes near float64, scores are in the master dtype on the device of the pixels, and a dry
/// run gives the same shapes. `make(context)` builds the reward.
template <class Make>
void check_dtypes_and_devices(Make make, const at::Tensor& pixels, const Prompts& prompts,
                              double bfloat16_tolerance) {
  register_meta_kernels();
  auto reference = make(LoggedContext(at::kDouble));
  const auto expected = reference.score(pixels, reference.encode(prompts));
  CHECK(expected.scalar_type() == at::kDouble);
  for (const auto dtype : {at::kFloat, at::kHalf, at::kBFloat16}) {
    INFO(toString(dtype));
    const double tolerance = dtype == at::kFloat  ? bfloat16_tolerance / 1e3
                             : dtype == at::kHalf ? bfloat16_tolerance / 5
                                                  : bfloat16_tolerance;
    for (const auto device : devices()) {
      INFO(device);
      auto reward = make(LoggedContext(dtype, device));
      const at::Tensor scores = reward.score(pixels.to(device, dtype), reward.encode(prompts));
      CHECK(scores.scalar_type() == at::kFloat);
      CHECK(scores.device() == device);
      CHECK(deviation(scores, expected, Measure::absolute) < tolerance);
    }
    auto shadow = make(LoggedContext(dtype, at::kMeta));
    auto shapes = pixels.to(at::kMeta, dtype).requires_grad_(true);
    const auto shadow_scores = shadow.score(shapes, shadow.encode(prompts));
    CHECK(shadow_scores.is_meta());
    CHECK(shadow_scores.sizes() == expected.sizes());
    CHECK(shadow_scores.scalar_type() == at::kFloat);
    if (!shadow.differentiable()) continue;
    torch::autograd::backward({shadow_scores.sum()});
    CHECK(shapes.grad().sizes() == pixels.sizes());
  }
}

/// Where the trained small reward models lie: in the repository or beside it; empty, with a message, if not.
inline std::filesystem::path shapes_weights(const std::string& name) {
  for (const auto* place :
       {RENO_SOURCE_DIR "/examples/shapes/rewards", RENO_SOURCE_DIR "/../shared/shapes/rewards"})
    if (const auto folder = std::filesystem::path(place) / name; std::filesystem::exists(folder))
      return folder;
  WARN("skipped: the shapes world's weights for " << name << " are not there");
  return {};
}

/// Pictures of the shapes world (4, 3, 64, 64): a red circle, a blue circle, a red square, a blue square.
inline at::Tensor shapes_pictures() {
  const auto axis = at::arange(64).to(at::kFloat) + 0.5F - 32;
  const auto x = axis.view({1, 64});
  const auto y = axis.view({64, 1});
  const auto disc = (0.5 - ((x.square() + y.square()).sqrt() - 11.0)).clamp(0, 1);
  const auto square = (0.5 - (at::max(x.abs(), y.abs()) - 10.0)).clamp(0, 1);
  const auto red = at::tensor({0.88F, 0.10F, 0.10F}).view({3, 1, 1});
  const auto blue = at::tensor({0.12F, 0.25F, 0.92F}).view({3, 1, 1});
  const auto paint = [](const at::Tensor& shape, const at::Tensor& colour) {
    return shape * colour + (1 - shape) * 0.9;
  };
  return at::stack({paint(disc, red), paint(disc, blue), paint(square, red), paint(square, blue)});
}

/// A trained reward gives each picture more with its own caption than with another's.
template <Reward R>
void check_prefers_true_captions(const R& reward) {
  const Prompts captions = {"a photo of a red circle", "a photo of a blue circle", "a photo of a red square",
                            "a photo of a blue square"};
  const auto pixels = preprocess(shapes_pictures(), reward.preprocess());
  std::vector<at::Tensor> scores;  // one row per caption
  for (const auto& caption : captions)
    scores.push_back(reward.score(pixels, reward.encode(Prompts(captions.size(), caption))));
  INFO(at::stack(scores));
  CHECK(at::equal(at::stack(scores).argmax(0), at::arange(4)));
}

}  // namespace reno::test
