#include <c10/core/GradMode.h>

#include <catch2/catch.hpp>

#include "reno/io/checkpoint.hpp"
#include "reno/nn/meta_kernels.hpp"
#include "reno/nn/unet2d_condition.hpp"
#include "support/golden.hpp"
#include "support/manifests.hpp"

using namespace reno;
using namespace reno::nn;

namespace {

UNet2DConditionModel load_unet(const std::filesystem::path& folder, at::ScalarType dtype = at::kFloat) {
  const UNet2DConditionConfig config(Config::read(folder / "config.json"));
  return {Weights(open_checkpoint(folder, "diffusion_pytorch_model"), at::kCPU, dtype), config};
}

nlohmann::json tiny_unet() {
  return nlohmann::json::parse(R"({
    "sample_size": 8, "block_out_channels": [8, 16], "cross_attention_dim": 12, "norm_num_groups": 4,
    "attention_head_dim": [1, 2], "layers_per_block": 1, "use_linear_projection": true,
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"]})");
}

UNet2DConditionConfig unet_config(const nlohmann::json& json) {
  return UNet2DConditionConfig(Config::parse(json.dump(), "unet/config.json"));
}

UNet2DConditionModel random_unet(const nlohmann::json& json, at::ScalarType dtype = at::kFloat) {
  return {Weights::random(1, at::kCPU, dtype), unet_config(json)};
}

}  // namespace

TEST_CASE("UNet2DConditionModel agrees with diffusers, block by block", "[nn][goldens]") {
  const c10::NoGradGuard no_grad;
  for (const auto& golden : test::goldens("generators/sd-turbo")) {
    const auto unet = load_unet(golden.folder / "model/unet");
    const auto check = [&](const std::string& name, const at::Tensor& got) {
      test::check_to_largest(golden.name + " " + name, got, golden[name], 1e-5);
    };
    const auto input = golden["one_step.model_in"], prompt = golden["text.0.prompt_embeds"];
    const auto time = unet.embed_time(999);
    check("tap.unet.time_embedding", time);
    check("one_step.model_out", unet(input, time, prompt));

    const UNetConditions conditions{at::silu(time), prompt};
    std::vector<at::Tensor> skips{unet.conv_in(input)};
    auto x = skips.back();
    check("tap.unet.conv_in", x);
    for (std::size_t i = 0; i < unet.down_blocks.size(); ++i) {
      x = unet.down_blocks[i](x, conditions, skips);
      if (i < 2) check("tap.unet.down_blocks." + std::to_string(i), x);
    }
    x = unet.mid_block(x, conditions);
    check("tap.unet.mid_block", x);
    for (std::size_t i = 0; i < unet.up_blocks.size(); ++i) {
      x = unet.up_blocks[i](x, conditions, skips);
      if (i == 0) check("tap.unet.up_blocks.0", x);
    }
    check("tap.unet.up_blocks.-1", x);
    CHECK(skips.empty());
  }
}

TEST_CASE("UNet2DConditionModel asks for exactly the tensors of the published checkpoints", "[nn]") {
  for (const std::string name : {"sd-turbo.unet", "sdxl-base.unet", "sdxl-turbo.unet"})
    test::check_manifest(name, [](const Weights& w, const Config& config) {
      return UNet2DConditionModel(w, UNet2DConditionConfig(config));
    });
}

TEST_CASE("UNet2DConditionModel: a batch equals its images alone", "[nn]") {
  const auto unet = random_unet(tiny_unet());
  const auto x = at::randn({3, 4, 8, 8}), prompt = at::randn({3, 5, 12});
  const auto time = unet.embed_time(500);
  const auto together = unet(x, time, prompt);
  for (std::int64_t i = 0; i < 3; ++i)
    CHECK(at::allclose(unet(x.narrow(0, i, 1), time, prompt.narrow(0, i, 1)), together.narrow(0, i, 1), 1e-5,
                       1e-5));
}

TEST_CASE("UNet2DConditionModel: the gradient agrees with finite differences", "[nn]") {
  const auto unet = random_unet(tiny_unet(), at::kDouble);
  const auto prompt = at::randn({1, 5, 12}, at::kDouble), direction = at::randn({1, 4, 8, 8}, at::kDouble);
  const auto weights = at::randn({1, 4, 8, 8}, at::kDouble);
  auto x = at::randn({1, 4, 8, 8}, at::kDouble);
  const auto value = [&](const at::Tensor& at) {
    return (unet(at, unet.embed_time(500), prompt) * weights).sum();
  };
  x.requires_grad_(true);
  value(x).backward();
  const auto slope = (x.grad() * direction).sum().item<double>();
  const c10::NoGradGuard no_grad;
  const double h = 1e-5;
  const auto difference = (value(x + h * direction) - value(x - h * direction)).item<double>() / (2 * h);
  CHECK(difference == Approx(slope).epsilon(1e-6));
}

TEST_CASE("UNet2DConditionModel: projections as 1x1 convolutions mean the same as linear ones", "[nn]") {
  auto convolutions = tiny_unet();
  convolutions["use_linear_projection"] = false;
  auto unet = random_unet(convolutions);
  const auto linear = random_unet(tiny_unet());
  const auto& projection = unet.down_blocks[0].attentions[0].proj_in;
  CHECK(projection.weight.sizes() == linear.down_blocks[0].attentions[0].proj_in.weight.sizes());
  CHECK(
      unet(at::randn({1, 4, 8, 8}), unet.embed_time(1), at::randn({1, 5, 12})).isfinite().all().item<bool>());
}

TEST_CASE("UNet2DConditionModel keeps the dtype and takes odd sizes", "[nn]") {
  const auto unet = random_unet(tiny_unet(), at::kBFloat16);
  const at::TensorOptions options(at::kBFloat16);
  const auto out = unet(at::randn({1, 4, 7, 9}, options), unet.embed_time(3), at::randn({1, 5, 12}, options));
  CHECK(out.scalar_type() == at::kBFloat16);
  CHECK(out.sizes() == at::IntArrayRef({1, 4, 7, 9}));
}

TEST_CASE("UNet2DConditionModel upcasts attention when the configuration says so", "[nn]") {
  auto json = tiny_unet();
  json["upcast_attention"] = true;
  const auto upcast = random_unet(json), plain = random_unet(tiny_unet());
  const auto x = at::randn({1, 4, 8, 8}), prompt = at::randn({1, 5, 12}), time = plain.embed_time(7);
  CHECK(at::equal(upcast(x, time, prompt), plain(x, time, prompt)));  // float32 already
  const auto half = random_unet(json, at::kBFloat16);
  const auto to_half = [](const at::Tensor& tensor) { return tensor.to(at::kBFloat16); };
  CHECK(half(to_half(x), to_half(time), to_half(prompt)).scalar_type() == at::kBFloat16);
}

TEST_CASE("UNet2DConditionModel with a pooled prompt needs one", "[nn]") {
  auto json = tiny_unet();
  json.update({{"addition_embed_type", "text_time"},
               {"addition_time_embed_dim", 4},
               {"projection_class_embeddings_input_dim", 6 * 4 + 10}});
  const auto unet = random_unet(json);
  CHECK_THROWS_AS(unet.embed_time(1), RunError);
  const TextTimeConditions added{at::randn({2, 10}), at::full({2, 6}, 512.0)};
  CHECK(unet.embed_time(1, added).sizes() == at::IntArrayRef({2, 32}));
}

TEST_CASE("UNet2DConditionModel runs forwards and backwards on the meta device", "[nn]") {
  register_meta_kernels();
  const UNet2DConditionModel unet(Weights(std::make_shared<ShapeRecorder>(), at::kMeta, at::kHalf),
                                  unet_config(tiny_unet()));
  const auto options = at::TensorOptions(at::kHalf).device(at::kMeta);
  const auto x = at::empty({2, 4, 8, 8}, options).requires_grad_(true);
  const auto out = unet(x, unet.embed_time(1), at::empty({2, 5, 12}, options));
  out.sum().backward();
  CHECK(x.grad().sizes() == x.sizes());
}

TEST_CASE("A UNet configuration that is not implemented is refused, naming file and key", "[nn]") {
  using Catch::Contains;
  const auto with = [](const std::string& key, const nlohmann::json& value) {
    auto json = tiny_unet();
    json[key] = value;
    return json;
  };
  CHECK_THROWS_WITH(
      unet_config(with("class_embed_type", "timestep")),
      Contains("unet/config.json: class_embed_type = \"timestep\" is not supported, expected null"));
  CHECK_THROWS_WITH(unet_config(with("resnet_time_scale_shift", "scale_shift")),
                    Contains("resnet_time_scale_shift"));
  CHECK_THROWS_WITH(unet_config(with("num_attention_heads", 8)), Contains("num_attention_heads"));
  CHECK_THROWS_WITH(unet_config(with("addition_embed_type", "image")), Contains("addition_embed_type"));
  CHECK_THROWS_WITH(unet_config(with("down_block_types", {"DownBlock2D", "AttnDownBlock2D"})),
                    Contains("down_block_types has the unknown block 'AttnDownBlock2D'"));
  CHECK_THROWS_WITH(unet_config(with("up_block_types", {"UpBlock2D"})),
                    Contains("up_block_types has 1 elements, but block_out_channels has 2"));
  CHECK_THROWS_WITH(unet_config(with("attention_head_dim", {1, 2, 3})),
                    Contains("attention_head_dim has 3 elements"));
  CHECK_THROWS_WITH(unet_config(with("attention_head_dim", 3)),
                    Contains("8 cannot be divided by its number of heads"));
  CHECK_THROWS_WITH(unet_config(with("norm_num_groups", 3)),
                    Contains("cannot be divided by norm_num_groups = 3"));
  CHECK_THROWS_WITH(unet_config(with("layers_per_block", 0)), Contains("layers_per_block = 0 is outside"));
  CHECK_THROWS_WITH(unet_config(with("block_out_channels", nlohmann::json::array())),
                    Contains("has 0 elements"));
  auto json = tiny_unet();
  json.erase("sample_size");
  CHECK_THROWS_WITH(unet_config(json), Contains("unet/config.json: sample_size: is missing"));
}
