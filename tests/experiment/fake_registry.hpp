// A registry with components that do nothing but have options of every type.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "reno/experiment/experiment.hpp"

namespace reno::test {

struct FakeGenerator {
  struct Options {
    std::filesystem::path weights = "stabilityai/sd-turbo";
    std::optional<std::filesystem::path> vae;
    std::int32_t width = 512;
    bool tiled = false;

    void describe(auto& field) {
      field("weights", weights, "hub id or directory of the checkpoint");
      field("vae", vae, "directory of another autoencoder");
      field("width", width, "of the image, in pixels", bounds{8, 4096});
      field("tiled", tiled, "decode in tiles");
    }
  };
  struct Conditioning {};

  FakeGenerator(const Options&, const Context&) {}
  std::vector<std::int64_t> noise_shape() { return {1}; }
  Conditioning encode(const Prompts&) { return {}; }
  at::Tensor generate(const at::Tensor& noise, const Conditioning&) { return noise; }
};

template <int Weight>
struct FakeReward {
  struct Options {
    double temperature = 1.0;
    std::string precision = "full";
    std::vector<std::int64_t> layers = {1, 2};
    std::vector<double> scales;
    std::vector<std::string> labels = {"a", "b"};

    void describe(auto& field) {
      field("temperature", temperature, "divides the logits", bounds{0.0, 100.0});
      field("precision", precision, "of the tower", choices{{"full", "half"}});
      field("layers", layers, "that are used", bounds{0, 11});
      field("scales", scales, "of the image pyramid");
      field("labels", labels, "of a|b tests");
    }
  };
  struct PromptFeatures {};
  static constexpr double ceiling = 1.0;
  static constexpr double default_weight = Weight;

  FakeReward(const Options&, const Context&) {}
  PromptFeatures encode(const Prompts&) { return {}; }
  Preprocess preprocess() { return {}; }
  at::Tensor score(const at::Tensor& pixels, const PromptFeatures&) { return pixels; }
};

struct FakeOptimizer {
  struct Options {
    double lr = 5.0;
    std::optional<double> grad_clip = 0.1;

    void describe(auto& field) {
      field("lr", lr, "learning rate", bounds{0.0});
      field("grad_clip", grad_clip, "largest norm of the gradient", bounds{0.0});
    }
  };

  FakeOptimizer(const Options&, const Context&) {}
  void step(at::Tensor&, const Evaluation&, const Evaluate&) {}
  std::vector<at::Tensor> state() { return {}; }
  void restore(const std::vector<at::Tensor>&) {}
};

inline Registry fake_registry() {
  Registry registry;
  registry.add<FakeGenerator>("sd-turbo", "A generator.");
  registry.add<FakeReward<5>>("hpsv2", "A reward.");
  registry.add<FakeReward<1>>("clip-score", "Another reward.");
  registry.add<FakeReward<0>>("aesthetic", "A reward that is only measured.");
  registry.add<FakeOptimizer>("sgd", "An optimizer.");
  registry.add<FakeOptimizer>("adam", "Another optimizer.");
  return registry;
}

}  // namespace reno::test
