// PixArt's transformer against diffusers, block by block.
#include <ATen/ATen.h>

#include <catch2/catch.hpp>

#include "reno/io/checkpoint.hpp"
#include "reno/nn/meta_kernels.hpp"
#include "reno/nn/pixart_transformer.hpp"
#include "support/golden.hpp"
#include "support/manifests.hpp"

using namespace reno;
using namespace reno::nn;
using namespace reno::test;

namespace {

nlohmann::json tiny_pixart() {
  return nlohmann::json::parse(
      R"({"_class_name": "PixArtTransformer2DModel", "sample_size": 8, "num_layers": 2,
                                   "num_attention_heads": 2, "attention_head_dim": 12, "cross_attention_dim": 24,
                                   "caption_channels": 10})");
}

PixArtTransformerConfig pixart_config(const nlohmann::json& json) {
  return PixArtTransformerConfig(Config::parse(json.dump(), "transformer/config.json"));
}

PixArtTransformer random_transformer(const nlohmann::json& json, at::ScalarType dtype = at::kFloat) {
  return {Weights::random(1, at::kCPU, dtype), pixart_config(json)};
}

}  // namespace

TEST_CASE("PixArt's transformer agrees with diffusers, block by block", "[nn][goldens]") {
  const c10::NoGradGuard no_grad;
  for (const auto& golden : goldens("generators/pixart")) {
    INFO(golden.name);
    const auto folder = golden.folder / "dmd/transformer";
    const Weights weights(open_checkpoint(folder, "diffusion_pytorch_model"), at::kCPU, at::kFloat);
    const PixArtTransformer model(weights, PixArtTransformerConfig(Config::read(folder / "config.json")));
    CHECK(weights.unused().empty());
    const auto check = [&](const std::string& name, const at::Tensor& got) {
      check_to_largest("pixart " + name, got, golden[name], 1e-5);
    };
    const auto row = golden["text.0.attention_mask"].contiguous();
    const auto* ones = row.const_data_ptr<std::int64_t>();
    const auto prompt = model.embed_prompt(golden["text.0.prompt_embeds"], {{ones, ones + row.numel()}});
    check("tap.transformer.caption_projection", prompt.caption);
    const auto time = model.adaln_single(400, 64, 64);
    check("tap.transformer.adaln_single", time.modulation.flatten(1));
    check("tap.transformer.adaln_single#1", time.embedding.squeeze(1));

    const auto latents = golden["one_step.model_in"];
    const auto positions = model.embed_positions(latents.size(2), latents.size(3));
    auto x = model.embed_patches(latents, positions);
    check("tap.transformer.pos_embed", x);
    for (std::size_t i = 0; i < model.blocks.size(); ++i) {
      x = model.blocks[i](x, time.modulation, prompt);
      if (i == 0) check("tap.transformer.transformer_blocks.0", x);
    }
    check("tap.transformer.transformer_blocks.-1", x);
    check("tap.transformer.norm_out", model.norm_out(x));
    check("one_step.model_out", model(latents, positions, time, prompt));

    const auto wide = golden["wide.in"];
    check("wide.out", model(wide, model.embed_positions(wide.size(2), wide.size(3)), time, prompt));
  }
}

TEST_CASE("PixArt's transformer asks for exactly the published tensors", "[nn]") {
  check_manifest("pixart-dmd-512.transformer", [](const Weights& w, const Config& config) {
    return PixArtTransformer(w, PixArtTransformerConfig(config));
  });
}

TEST_CASE("PixArt's 1024-pixel models are told the image's size", "[nn]") {
  auto json = tiny_pixart();
  json["use_additional_conditions"] = true;
  const auto model = random_transformer(json, at::kDouble);
  const auto time = model.adaln_single(400, 1024, 512);
  // Height, width and their ratio pass through perceptrons whose outputs stand side by side.
  const auto embed = [&](const std::optional<TimestepEmbedding>& perceptron, double number) {
    const auto sinusoids = model.adaln_single.time_proj(at::full({1}, number));
    return (*perceptron)(sinusoids.to(at::kDouble));
  };
  const auto& parts = model.adaln_single;
  const auto plain = random_transformer(tiny_pixart(), at::kDouble).adaln_single(400, 0, 0).embedding[0];
  const auto size = at::cat({embed(parts.resolution_embedder, 1024), embed(parts.resolution_embedder, 512),
                             embed(parts.aspect_ratio_embedder, 2)},
                            1);
  check_absolute("pixart size conditions", time.embedding[0], plain + size, 1e-12);
  json["use_additional_conditions"] = nullptr;
  CHECK_FALSE(pixart_config(json).use_additional_conditions);
  json["sample_size"] = 128;
  CHECK(pixart_config(json).use_additional_conditions);
  CHECK(pixart_config(json).interpolation_scale == 2);
}

TEST_CASE("PixArt's transformer: what is hidden of a prompt changes nothing", "[nn]") {
  const auto model = random_transformer(tiny_pixart(), at::kDouble);
  const auto latents = at::randn({1, 4, 8, 8}, at::kDouble);
  auto states = at::randn({1, 3, 10}, at::kDouble);
  const auto positions = model.embed_positions(8, 8);
  const auto time = model.adaln_single(400, 64, 64);
  const auto run = [&] { return model(latents, positions, time, model.embed_prompt(states, {{1, 1, 0}})); };
  const auto before = run();
  states.select(1, 2).fill_(7);
  CHECK(at::equal(run(), before));
  states.select(1, 1).fill_(7);
  CHECK_FALSE(at::equal(run(), before));
}

TEST_CASE("PixArt's transformer: the gradient agrees with finite differences, recomputed or not", "[nn]") {
  auto model = random_transformer(tiny_pixart(), at::kDouble);
  const auto prompt = model.embed_prompt(at::randn({1, 5, 10}, at::kDouble), {{1, 1, 1, 0, 0}});
  const auto positions = model.embed_positions(8, 8);
  const auto time = model.adaln_single(400, 64, 64);
  const auto weights = at::randn({1, 8, 8, 8}, at::kDouble), direction = at::randn({1, 4, 8, 8}, at::kDouble);
  const auto value = [&](const at::Tensor& x) { return (model(x, positions, time, prompt) * weights).sum(); };
  const auto x = at::randn({1, 4, 8, 8}, at::kDouble).requires_grad_(true);
  value(x).backward();
  const auto gradient = x.grad().clone();
  x.mutable_grad().zero_();
  model.recompute = true;
  value(x).backward();
  CHECK(at::equal(x.grad(), gradient));
  const auto slope = (gradient * direction).sum().item<double>();
  const c10::NoGradGuard no_grad;
  const double h = 1e-5;
  const auto difference = (value(x + h * direction) - value(x - h * direction)).item<double>() / (2 * h);
  CHECK(difference == Approx(slope).epsilon(1e-6));
}

TEST_CASE("PixArt's transformer runs forwards and backwards on the meta device", "[nn]") {
  register_meta_kernels();
  const PixArtTransformer model(Weights(std::make_shared<ShapeRecorder>(), at::kMeta, at::kHalf),
                                pixart_config(tiny_pixart()));
  const auto options = at::TensorOptions(at::kHalf).device(at::kMeta);
  const auto x = at::empty({2, 4, 8, 12}, options).requires_grad_(true);
  const auto prompt = model.embed_prompt(at::empty({2, 3, 10}, options), {{1, 1, 0}, {1, 1, 1}});
  model(x, model.embed_positions(8, 12), model.adaln_single(400, 64, 96), prompt).sum().backward();
  CHECK(x.grad().sizes() == x.sizes());
}

TEST_CASE("A PixArt configuration that is not implemented is refused, naming file and key", "[nn]") {
  using Catch::Contains;
  const auto with = [](const std::string& key, const nlohmann::json& value) {
    auto json = tiny_pixart();
    json[key] = value;
    return json;
  };
  CHECK_THROWS_WITH(
      pixart_config(with("_class_name", "UNet2DConditionModel")),
      Contains("transformer/config.json: _class_name = 'UNet2DConditionModel' is not supported"));
  CHECK_THROWS_WITH(pixart_config(with("norm_type", "layer_norm")), Contains("norm_type"));
  CHECK_THROWS_WITH(pixart_config(with("cross_attention_dim", 25)),
                    Contains("cross_attention_dim = 25, expected 24, the width of the transformer"));
  CHECK_THROWS_WITH(pixart_config(with("sample_size", 9)), Contains("9 cannot be divided by patch_size = 2"));
  auto json = tiny_pixart();
  json.erase("caption_channels");
  CHECK_THROWS_WITH(pixart_config(json), Contains("caption_channels: is missing"));
}
