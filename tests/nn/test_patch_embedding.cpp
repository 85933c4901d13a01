#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <catch2/catch.hpp>

#include "reno/nn/patch_embedding.hpp"

using namespace reno;

TEST_CASE("A patch embedding is the convolution whose stride is its size, forward and back") {
  at::manual_seed(0);
  const auto scope = Weights::random(/*seed=*/1, at::kCPU, at::kDouble);
  for (const auto with_bias : {nn::Bias::yes, nn::Bias::no}) {
    const nn::PatchEmbedding embed(scope / "patches", 3, 5, 4, with_bias);
    // Eight by twelve pixels and a remainder, of which no patch sees anything.
    const auto pixels = at::randn({2, 3, 10, 15}, at::kDouble).requires_grad_(true);
    const auto tokens = embed(pixels);
    const auto expected = at::conv2d(pixels, embed.weight, embed.bias, 4).flatten(2).transpose(1, 2);
    REQUIRE(tokens.sizes() == at::IntArrayRef({2, 6, 5}));
    CHECK(at::allclose(tokens, expected, 0, 1e-12));

    const auto direction = at::randn(tokens.sizes(), at::kDouble);
    const auto gradient = torch::autograd::grad({tokens}, {pixels}, {direction})[0];
    CHECK(at::allclose(gradient, torch::autograd::grad({expected}, {pixels}, {direction})[0], 0, 1e-12));
    CHECK(gradient.narrow(3, 12, 3).abs().max().item<double>() == 0);
  }
}
