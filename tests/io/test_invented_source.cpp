#include <ATen/ATen.h>

#include <catch2/catch.hpp>
#include <cmath>

#include "reno/io/invented_source.hpp"
#include "reno/io/weights.hpp"
#include "support/temporary_folder.hpp"

using reno::LoadError;
using reno::RandomSource;
using reno::ShapeRecorder;
using reno::TensorShapes;
using reno::Weights;
using reno::test::message_of;

namespace {

/// Something like a network: two linear layers and a norm, the second bias only if the checkpoint has one.
std::vector<at::Tensor> build(const Weights& w) {
  std::vector<at::Tensor> parameters{(w / "fc1").get("weight", {64, 16}), (w / "fc1").get("bias", {64}),
                                     (w / "norm").get("weight", {64}), (w / "fc2").get("weight", {8, 64})};
  if ((w / "fc2").has("bias")) parameters.push_back((w / "fc2").get("bias", {8}));
  return parameters;
}

Weights recording(const std::shared_ptr<const ShapeRecorder>& recorder) {
  return Weights(recorder, at::kCPU, at::kHalf);
}

}  // namespace

TEST_CASE("Random weights keep activations at unit scale") {
  const auto w = Weights::random(3, at::kCPU, at::kFloat);
  const auto linear = w.get("fc.weight", {300, 400});
  CHECK(linear.mean().item<double>() == Approx(0).margin(1e-3));
  CHECK(linear.std().item<double>() == Approx(1 / std::sqrt(400.0)).epsilon(0.01));
  CHECK(w.get("conv.weight", {64, 32, 3, 3}).std().item<double>() ==
        Approx(1 / std::sqrt(32 * 9.0)).epsilon(0.02));
  CHECK(at::equal(w.get("norm.weight", {5}), at::ones({5})));
  CHECK(at::equal(w.get("fc.bias", {5}), at::zeros({5})));
  CHECK(w.get("class_embedding", {10'000}).std().item<double>() == Approx(0.01).epsilon(0.05));
  CHECK(std::isfinite(w.get("logit_scale", {}).item<double>()));
  CHECK(w.get("empty.weight", {0, 4}).numel() == 0);
  CHECK(Weights::random(3, at::kCPU, at::kFloat, 0.5).get("fc.weight", {300, 400}).std().item<double>() ==
        Approx(0.5 / std::sqrt(400.0)).epsilon(0.01));
}

TEST_CASE("A random tensor depends on seed and name, not on the order of asking") {
  const auto one = Weights::random(1, at::kCPU, at::kFloat);
  const auto two = Weights::random(1, at::kCPU, at::kFloat);
  const auto a = one.get("a.weight", {4, 4});
  const auto b = one.get("b.weight", {4, 4});
  CHECK(at::equal(two.get("b.weight", {4, 4}), b));
  CHECK(at::equal(two.get("a.weight", {4, 4}), a));
  CHECK_FALSE(at::equal(a, b));
  CHECK_FALSE(at::equal(Weights::random(2, at::kCPU, at::kFloat).get("a.weight", {4, 4}), a));
  CHECK_FALSE(at::equal(
      Weights::random(std::uint64_t{1} << 32 | 1, at::kCPU, at::kFloat).get("a.weight", {4, 4}), a));
  CHECK(at::equal(Weights::random(1, at::kCPU, at::kHalf).get("a.weight", {4, 4}), a.to(at::kHalf)));
  at::manual_seed(5);
  const auto untouched = at::randn({2});
  at::manual_seed(5);
  static_cast<void>(one.get("c.weight", {4, 4}));
  CHECK(at::equal(at::randn({2}), untouched));  // the global generator is left alone
}

TEST_CASE("An open-ended source has whatever is asked for, in the shape of the asking") {
  const auto w = Weights::random(1, at::kCPU, at::kFloat);
  CHECK(w.has("anything"));
  CHECK(w.has_scope("anything"));
  CHECK(w.unused().empty());
  CHECK(build(w).size() == 5);
  CHECK(
      message_of<LoadError>([&] { w.get("a.weight"); }) ==
      "random weights (seed 1): tensor \"a.weight\" has no shape of its own, it must be asked for with one");
  CHECK(
      message_of<LoadError>([&] { static_cast<void>(w.shape("a.weight")); }) ==
      "random weights (seed 1): tensor \"a.weight\" has no shape of its own, it must be asked for with one");
  CHECK(w.get("a.weight", {2, 2}).sizes() == at::IntArrayRef{2, 2});
  CHECK(w.get("a.weight", {3, 2}).sizes() == at::IntArrayRef{3, 2});
}

TEST_CASE("With a list of tensors an invented source answers as that checkpoint would") {
  const TensorShapes shapes{
      {"fc1.weight", {64, 16}}, {"fc1.bias", {64}}, {"norm.weight", {64}}, {"fc2.weight", {8, 64}}};
  const Weights w(std::make_shared<const RandomSource>(1, 1.0, shapes), at::kCPU, at::kFloat);
  CHECK(build(w).size() == 4);
  CHECK(w.unused().empty());
  CHECK(w.get("fc1.weight").sizes() == at::IntArrayRef{64, 16});
  CHECK_FALSE(w.has_scope("fc3"));
  CHECK(message_of<LoadError>([&] {
          w.get("fc1.weight", {64, 17});
        }) == "random weights (seed 1): tensor \"fc1.weight\" has shape [64, 16], expected [64, 17]");
  CHECK(message_of<LoadError>([&] { w.get("fc3.weight", {1}); }) ==
        "random weights (seed 1): has no tensor \"fc3.weight\", expected one of shape [1]; at its top it has "
        "fc1, fc2, norm");
}

TEST_CASE("The recorder learns what a network asks for, without allocating") {
  const auto recorder = std::make_shared<const ShapeRecorder>();
  for (const auto& parameter : build(recording(recorder))) {
    CHECK(parameter.is_meta());
    CHECK(parameter.scalar_type() == at::kHalf);
  }
  static_cast<void>(recording(recorder).get("huge.weight", {1'000'000, 1'000'000}));
  CHECK(recorder->recorded() == TensorShapes{{"fc1.weight", {64, 16}},
                                             {"fc1.bias", {64}},
                                             {"norm.weight", {64}},
                                             {"fc2.weight", {8, 64}},
                                             {"fc2.bias", {8}},
                                             {"huge.weight", {1'000'000, 1'000'000}}});
}

TEST_CASE("With a manifest the recorder compares a network with a checkpoint that is not here") {
  const TensorShapes manifest{{"fc1.weight", {64, 16}},
                              {"fc1.bias", {64}},
                              {"norm.weight", {64}},
                              {"fc2.weight", {8, 64}},
                              {"old", {1}}};
  const auto recorder = std::make_shared<const ShapeRecorder>(manifest);
  const auto w = recording(recorder);
  build(w);
  CHECK(w.unused() == std::vector<std::string>{"old"});
  CHECK(recorder->recorded().size() == 4);
}

TEST_CASE("Random weights move with their values") {
  const auto w = Weights::random(1, at::kCPU, at::kFloat);
  const auto weight = w.get("a.weight", {4, 4});
  const auto values = weight.clone();
  w.to(at::Device(at::kCPU, 0));
  CHECK(at::equal(weight, values));
}

TEST_CASE("Random weights on the meta device have a shape alone") {
  CHECK(Weights::random(1, at::kMeta, at::kFloat).get("a.weight", {4, 4}).is_meta());
}
