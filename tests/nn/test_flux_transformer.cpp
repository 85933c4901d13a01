// FLUX's transformer against diffusers, block by block.
#include <ATen/ATen.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "reno/io/checkpoint.hpp"
#include "reno/nn/flux_transformer.hpp"
#include "reno/nn/meta_kernels.hpp"
#include "support/golden.hpp"
#include "support/manifests.hpp"

using namespace reno;
using namespace reno::nn;
using namespace reno::test;

namespace {

nlohmann::json tiny() {
  return nlohmann::json::parse(R"({"in_channels": 8, "num_layers": 1, "num_single_layers": 1,
                                   "num_attention_heads": 2, "attention_head_dim": 8, "joint_attention_dim": 10,
                                   "pooled_projection_dim": 6, "axes_dims_rope": [2, 2, 4]})");
}

FluxTransformerConfig parse(const nlohmann::json& json) {
  return FluxTransformerConfig(Config::parse(json.dump(), "transformer/config.json"));
}

/// With random weights, and what it is given beside the latents (N, 6, 8): 3 text and 2 x 3 image tokens.
struct RandomFlux {
  Weights weights;
  FluxTransformer model;
  at::Tensor text;
  FluxModulation modulation;
  at::Tensor positions;

  RandomFlux(const Weights& weights, double timestep, std::int64_t batch = 1)
      : weights(weights),
        model(weights, parse(tiny())),
        text(model.context_embedder(random({batch, 3, 10}))),
        modulation(FluxModulator(weights, parse(tiny()))(timestep, random({batch, 6}))),
        positions(model.embed_positions(3, 2, 3)) {}

  at::Tensor random(at::IntArrayRef shape) const {
    return at::randn(shape, at::TensorOptions(weights.dtype())).to(weights.device());
  }

  at::Tensor operator()(const at::Tensor& latents) const {
    return model(latents, text, modulation, positions);
  }
};

RandomFlux random_flux(at::ScalarType dtype, double timestep = 1000) {
  return {Weights::random(1, at::kCPU, dtype), timestep};
}

}  // namespace

TEST_CASE("FLUX's transformer agrees with diffusers, block by block", "[nn][goldens]") {
  const c10::NoGradGuard no_grad;
  for (const auto& golden : goldens("generators/flux-schnell")) {
    INFO(golden.name);
    const auto folder = golden.folder / "model/transformer";
    const Weights weights(open_checkpoint(folder, "diffusion_pytorch_model"), at::kCPU, at::kFloat);
    const FluxTransformerConfig config(Config::read(folder / "config.json"));
    const FluxModulator modulator(weights, config);
    const FluxTransformer model(weights, config);
    CHECK(weights.unused().empty());
    const auto check = [&](const std::string& name, const at::Tensor& got) {
      check_to_largest("flux-schnell " + name, got, golden[name], 1e-5);
    };
    const auto latents = golden["one_step.model_in"];
    const auto text = model.context_embedder(golden["text.0.prompt_embeds"]);
    check("tap.transformer.context_embedder", text);
    const auto pooled = golden["text.0.pooled"];
    check("tap.transformer.time_text_embed", modulator.embed(1000, pooled));
    const auto modulation = modulator(1000, pooled);
    check("tap.transformer.x_embedder", model.x_embedder(latents));

    const auto& size = golden.json["size"];
    const auto positions = model.embed_positions(text.size(1), size["rows"], size["cols"]);
    if (const std::string tap = "tap.transformer.pos_embed"; golden.has(tap)) {
      const auto rotations = golden[tap][0][0];  // (tokens, pairs, 2, 2)
      const auto turns = at::view_as_real(positions.squeeze(1));
      check_absolute("flux-schnell " + tap, turns, rotations.select(-1, 0), 1e-6);
    }

    FluxStates states{text, model.x_embedder(latents)};
    for (std::size_t i = 0; i < model.transformer_blocks.size(); ++i) {
      states = model.transformer_blocks[i](states, modulation.double_blocks[i], positions);
      if (i > 0) continue;
      check("tap.transformer.transformer_blocks.0", states.text);
      check("tap.transformer.transformer_blocks.0#1", states.image);
    }
    auto x = at::cat({states.text, states.image}, 1);
    for (std::size_t i = 0; i < model.single_transformer_blocks.size(); ++i) {
      x = model.single_transformer_blocks[i](x, modulation.single_blocks[i], positions);
      if (i == 0) check("tap.transformer.single_transformer_blocks.0", x);
    }
    check("tap.transformer.single_transformer_blocks.-1", x);
    const auto image = x.narrow(1, text.size(1), latents.size(1));
    check("tap.transformer.norm_out", model.last_norm(image, modulation));
    check("one_step.model_out", model(latents, text, modulation, positions));
  }
}

TEST_CASE("FLUX's transformer asks for exactly the published tensors", "[nn]") {
  check_manifest("flux-schnell.transformer", [](const Weights& w, const Config& config) {
    FluxModulator(w, FluxTransformerConfig(config));
    return FluxTransformer(w, FluxTransformerConfig(config));
  });
}

TEST_CASE("Turned queries and keys know their distance alone", "[nn]") {
  const auto turns = rotary_turns(at::arange(6, at::kDouble).unsqueeze(1), {8});
  const auto query = at::randn({8}, at::kDouble), key = at::randn({8}, at::kDouble);
  const auto at_all = [&](const at::Tensor& x) {
    return rotated(x.expand({1, 6, 1, 8}), turns)[0].squeeze(1);
  };
  const auto products = at_all(query).matmul(at_all(key).t());
  for (std::int64_t distance = -5; distance <= 5; ++distance) {
    const auto diagonal = products.diagonal(distance);
    CHECK((diagonal - diagonal[0]).abs().max().item<double>() < 1e-12);
  }
  CHECK(products[0][0].item<double>() == Approx(query.dot(key).item<double>()));
}

TEST_CASE("FLUX's transformer: the gradient agrees with finite differences, recomputed or not", "[nn]") {
  auto flux = random_flux(at::kDouble);
  const auto weights = flux.random({1, 6, 8}), direction = flux.random({1, 6, 8});
  const auto value = [&](const at::Tensor& x) { return (flux(x) * weights).sum(); };
  const auto x = flux.random({1, 6, 8}).requires_grad_(true);
  value(x).backward();
  const auto gradient = x.grad().clone();
  x.mutable_grad().zero_();
  flux.model.recompute = true;
  value(x).backward();
  CHECK(at::equal(x.grad(), gradient));
  const auto slope = (gradient * direction).sum().item<double>();
  const c10::NoGradGuard no_grad;
  const double h = 1e-5;
  const auto difference = (value(x + h * direction) - value(x - h * direction)).item<double>() / (2 * h);
  CHECK(difference == Approx(slope).epsilon(1e-6));
}

TEST_CASE("FLUX's transformer keeps half precision and brings back what overflows float16", "[nn]") {
  for (const auto dtype : {at::kHalf, at::kBFloat16}) {
    const auto flux = random_flux(dtype, 750);
    const auto out = flux(flux.random({1, 6, 8}));
    CHECK(out.scalar_type() == dtype);
    CHECK(out.isfinite().all().item<bool>());
  }
  const auto overflowing = at::full({2}, 1e6).to(at::kHalf);
  CHECK(at::equal(nn::detail::finite_flux(overflowing), at::full({2}, 65504.0).to(at::kHalf)));
}

TEST_CASE("FLUX's transformer runs forwards and backwards on the meta device", "[nn]") {
  register_meta_kernels();
  RandomFlux flux(Weights(std::make_shared<ShapeRecorder>(), at::kMeta, at::kBFloat16), 1000, 2);
  for (const bool recompute : {false, true}) {
    flux.model.recompute = recompute;
    const auto x = flux.random({2, 6, 8}).requires_grad_(true);
    flux(x).sum().backward();
    CHECK(x.grad().sizes() == x.sizes());
  }
}

TEST_CASE("A FLUX configuration that is not implemented is refused, naming file and key", "[nn]") {
  using Catch::Contains;
  const auto with = [](const std::string& key, const nlohmann::json& value) {
    auto json = tiny();
    json[key] = value;
    return json;
  };
  CHECK_THROWS_WITH(parse(with("guidance_embeds", true)),
                    Contains("transformer/config.json: guidance_embeds = true is not supported"));
  CHECK_THROWS_WITH(parse(with("axes_dims_rope", {2, 2, 2})),
                    Contains("axes_dims_rope is not three numbers with the sum attention_head_dim = 8"));
  CHECK_THROWS_WITH(parse(with("axes_dims_rope", {3, 3, 2})), Contains("3 cannot be divided by 2"));
  CHECK_THROWS_WITH(parse(with("out_channels", 4)), Contains("out_channels is not in_channels = 8"));
}
