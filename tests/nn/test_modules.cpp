#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <catch2/catch.hpp>

#include "reno/nn/meta_kernels.hpp"
#include "reno/nn/modules.hpp"

namespace nn = reno::nn;
using Catch::Matchers::Message;

namespace {

const auto float64 = at::TensorOptions(at::kDouble);

reno::Weights weights(const char* scope) {
  return reno::Weights::random(/*seed=*/1, at::kCPU, at::kDouble) / scope;
}

void check_close(const at::Tensor& got, const at::Tensor& expected, double tolerance = 1e-12) {
  REQUIRE(got.sizes() == expected.sizes());
  CHECK((got - expected).abs().max().item<double>() <= tolerance);
}

}  // namespace

TEST_CASE("Linear, LayerNorm, GroupNorm, RMSNorm and Embedding compute their definitions") {
  at::manual_seed(0);
  const auto x = at::randn({2, 5, 6}, float64);
  const auto bias = at::randn({4}, float64);

  const nn::Linear linear(weights("linear"), 6, 4, nn::Bias::no);
  CHECK_FALSE(linear.bias.defined());
  check_close(linear(x), x.matmul(linear.weight.t()));
  check_close(nn::Linear(linear.weight, bias)(x), x.matmul(linear.weight.t()) + bias);

  const auto centred = x - x.mean(-1, true);
  check_close(nn::LayerNorm(6, 1e-2)(x), centred / (centred.square().mean(-1, true) + 1e-2).sqrt());
  check_close(nn::RMSNorm(weights("norm"), 6, 1e-2)(x), x / (x.square().mean(-1, true) + 1e-2).sqrt());

  const auto map = at::randn({2, 4, 3, 3}, float64);
  const auto grouped = map.view({2, 2, -1});
  const auto grouped_mean = grouped - grouped.mean(-1, true);
  check_close(nn::GroupNorm(weights("group"), 4, 2, 1e-2)(map),
              (grouped_mean / (grouped_mean.square().mean(-1, true) + 1e-2).sqrt()).view_as(map));

  const nn::Embedding embedding(weights("embedding"), 10, 3);
  CHECK(at::equal(embedding(at::tensor({7, 0}, at::kLong)),
                  at::stack({embedding.weight[7], embedding.weight[0]})));
}

TEST_CASE("Linear takes its bias when told so, and if the checkpoint has one") {
  const auto scope = [](const reno::TensorShapes& shapes) {
    return reno::Weights(std::make_shared<const reno::RandomSource>(0, 1.0, shapes), at::kCPU, at::kFloat);
  };
  const auto bare = scope({{"weight", {2, 3}}});
  const auto biased = scope({{"weight", {2, 3}}, {"bias", {2}}});
  CHECK_FALSE(nn::Linear(bare, 3, 2, nn::Bias::if_stored).bias.defined());
  CHECK(nn::Linear(biased, 3, 2, nn::Bias::if_stored).bias.defined());
  CHECK_FALSE(nn::Linear(biased, 3, 2, nn::Bias::no).bias.defined());
  CHECK_THROWS_AS(nn::Linear(bare, 3, 2), reno::LoadError);
  CHECK_THROWS_AS(nn::Linear(biased, 2, 3), reno::LoadError);
}

TEST_CASE("activations by their configuration names") {
  const auto x = at::linspace(-4, 4, 33, float64);
  const auto normal_cdf = (1 + at::erf(x / std::sqrt(2.0))) / 2;
  const auto tanh_gelu = 0.5 * x * (1 + at::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x.pow(3))));
  check_close(nn::activation("quick_gelu")(x), x / (1 + at::exp(-1.702 * x)));
  check_close(nn::activation("gelu")(x), x * normal_cdf);
  check_close(nn::activation("gelu_new")(x), tanh_gelu);
  check_close(nn::activation("gelu_pytorch_tanh")(x), tanh_gelu);
  check_close(nn::activation("silu")(x), x / (1 + at::exp(-x)));
  check_close(nn::activation("swish")(x), x / (1 + at::exp(-x)));
  check_close(nn::activation("relu")(x), x.clamp_min(0));
  CHECK_THROWS_MATCHES(nn::activation("glu"), reno::LoadError,
                       Message("unknown activation 'glu'; have: gelu, gelu_new, gelu_pytorch_tanh, "
                               "quick_gelu, relu, silu, swish, tanh"));
}

TEST_CASE("attention is softmax(q kT / sqrt d + mask) v per head") {
  at::manual_seed(0);
  const auto query = at::randn({2, 5, 6}, float64);
  const auto key = at::randn({2, 7, 6}, float64);
  const auto value = at::randn({2, 7, 6}, float64);
  const auto mask = at::randn({2, 1, 1, 7}, float64);
  const auto split = [](const at::Tensor& x) { return x.view({2, -1, 3, 2}).transpose(1, 2); };
  const auto expected = [&](double scale, const at::Tensor& bias) {
    const auto logits = scale * split(query).matmul(split(key).transpose(2, 3)) + bias;
    return logits.softmax(-1).matmul(split(value)).transpose(1, 2).reshape({2, 5, 6});
  };
  const auto zero = at::zeros({1}, float64);
  check_close(nn::attention(query, key, value, 3), expected(1 / std::sqrt(2.0), zero));
  check_close(nn::attention(query, key, value, 3, {.mask = mask}), expected(1 / std::sqrt(2.0), mask));
  check_close(nn::attention(query, key, value, 3, {.scale = 1.0}), expected(1.0, zero));

  const auto causal = nn::attention(query, query, query, 3, {.causal = true});
  const auto first_three = query.narrow(1, 0, 3);
  check_close(causal.narrow(1, 0, 3),
              nn::attention(first_three, first_three, first_three, 3, {.causal = true}));
  check_close(causal.select(1, 0), query.select(1, 0));
}

TEST_CASE("building blocks run forwards and backwards on tensors without data") {
  reno::register_meta_kernels();
  const auto w = reno::Weights::random(0, at::kMeta, at::kHalf);
  auto x = at::empty({2, 5, 6}, at::TensorOptions(at::kHalf).device(at::kMeta)).requires_grad_(true);
  auto image = at::empty({2, 6, 8, 8}, x.options()).requires_grad_(true);

  const auto hidden = nn::LayerNorm(w / "norm", 6, 1e-5)(nn::Linear(w / "proj", 6, 6)(x));
  const auto mixed =
      nn::attention(hidden, hidden, nn::RMSNorm(w / "rms", 6, 1e-6)(hidden), 2, {.causal = true});
  CHECK(mixed.is_meta());
  CHECK(mixed.sizes() == x.sizes());
  CHECK(mixed.scalar_type() == at::kHalf);
  const auto map = nn::GroupNorm(w / "group", 6, 2, 1e-5)(nn::Conv2d(w / "conv", 6, 6, 3, 2, 1)(image));
  CHECK(map.sizes() == at::IntArrayRef{2, 6, 4, 4});

  torch::autograd::backward({mixed.sum(), map.sum()});
  CHECK(x.grad().sizes() == x.sizes());
  CHECK(image.grad().sizes() == image.sizes());
}
