// Small components for tests of the core: a generator and rewards whose values and gradients are known in
// closed form.
#pragma once

#include <ATen/ATen.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "reno/concepts.hpp"
#include "reno/context.hpp"

namespace reno::test {

/// How often each component encoded prompts, by name.
using Counts = std::map<std::string, int>;

/// images = sigmoid(noise), noise (N,3,8,8).
struct SigmoidGenerator {
  struct Options {
    void describe(auto&) {}
  };
  struct Conditioning {
    std::size_t count;
  };

  SigmoidGenerator(const Options&, const Context&) {}
  explicit SigmoidGenerator(Counts* counts) : counts(counts) {}

  std::vector<std::int64_t> noise_shape() const { return {3, 8, 8}; }
  Conditioning encode(const Prompts& prompts) {
    if (counts != nullptr) ++(*counts)["generator"];
    return {prompts.size()};
  }
  at::Tensor generate(const at::Tensor& noise, const Conditioning&) const { return at::sigmoid(noise); }

  Counts* counts = nullptr;
};

/// How many reward graphs are alive, and the most there have been at once.
struct GraphCount {
  int live = 0;
  int peak = 0;
};

/// score = factor * mean((pixels - target)^2), where target is the prompt's length; counts its live graphs.
struct SquareReward {
  struct Options {
    double factor = -1.0;
    void describe(auto& field) { field("factor", factor, "of the mean squared distance"); }
  };
  struct PromptFeatures {
    at::Tensor target;
  };
  static constexpr double ceiling = 10.0;

  SquareReward(const Options& options, const Context&) : factor(options.factor) {}
  SquareReward(double factor, std::int64_t size, Counts* counts, GraphCount* graphs)
      : factor(factor), size(size), counts(counts), graphs(graphs) {}

  PromptFeatures encode(const Prompts& prompts) {
    if (counts != nullptr) ++(*counts)["reward"];
    std::vector<double> lengths;
    for (const auto& prompt : prompts) lengths.push_back(static_cast<double>(prompt.size()) / 10.0);
    return {at::tensor(lengths)};
  }
  Preprocess preprocess() const { return {.size = size}; }

  at::Tensor score(const at::Tensor& pixels, const PromptFeatures& features) const {
    const at::Tensor difference = pixels - features.target.to(pixels.options()).view({-1, 1, 1, 1});
    return (difference * difference).flatten(1).mean(1) * watched(pixels) * factor;
  }

  /// A factor 1 that lives exactly as long as the graph that it is part of.
  at::Tensor watched(const at::Tensor& pixels) const {
    if (graphs == nullptr || !pixels.requires_grad())
      return at::ones({1}, pixels.options().requires_grad(false));
    graphs->peak = std::max(graphs->peak, ++graphs->live);
    auto* one = new double(1.0);
    return at::from_blob(
        one, {1}, [one, graphs = graphs](void*) { delete one, --graphs->live; },
        at::TensorOptions(at::kDouble));
  }

  double factor;
  std::int64_t size = 8;
  Counts* counts = nullptr;
  GraphCount* graphs = nullptr;
};

/// Scores without a gradient.
struct BlackBoxReward {
  struct Options {
    void describe(auto&) {}
  };
  struct PromptFeatures {};
  static constexpr double ceiling = 1.0;
  static constexpr bool differentiable = false;

  BlackBoxReward(const Options&, const Context&) {}

  PromptFeatures encode(const Prompts&) { return {}; }
  Preprocess preprocess() const { return {.size = 8}; }
  at::Tensor score(const at::Tensor& pixels, const PromptFeatures&) const {
    return at::amax(pixels.detach().flatten(1), {1});
  }
};

}  // namespace reno::test
