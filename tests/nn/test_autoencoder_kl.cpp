#include <c10/core/GradMode.h>

#include <catch2/catch.hpp>

#include "reno/io/checkpoint.hpp"
#include "reno/nn/autoencoder_kl.hpp"
#include "support/golden.hpp"
#include "support/manifests.hpp"

using namespace reno;
using namespace reno::nn;

namespace {

AutoencoderKLDecoder load(const std::filesystem::path& folder) {
  const AutoencoderKLConfig config(Config::read(folder / "config.json"));
  return {Weights(open_checkpoint(folder, "diffusion_pytorch_model"), at::kCPU, at::kFloat), config};
}

AutoencoderKLConfig vae_config(const std::string& changes) {
  auto json = nlohmann::json::parse(R"({"block_out_channels": [8, 16], "norm_num_groups": 4,
                                        "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D"]})");
  json.update(nlohmann::json::parse(changes));
  return AutoencoderKLConfig(Config::parse(json.dump(), "vae/config.json"));
}

AutoencoderKLDecoder random_decoder(const std::string& changes, at::ScalarType dtype = at::kFloat) {
  return {Weights::random(1, at::kCPU, dtype), vae_config(changes)};
}

}  // namespace

TEST_CASE("The autoencoder's decoder agrees with diffusers, block by block", "[nn][goldens]") {
  const c10::NoGradGuard no_grad;
  for (const auto& golden : test::goldens("generators/sd-turbo")) {
    const auto decode = load(golden.folder / "model/vae");
    const auto check = [&](const std::string& name, const at::Tensor& got) {
      test::check_to_largest(golden.name + " " + name, got, golden[name], 1e-5);
    };
    const auto z = golden["one_step.decoder_in"];
    auto x = decode.conv_in((*decode.post_quant_conv)(z));
    check("tap.vae.decoder.conv_in", x);
    x = decode.mid_block(x);
    check("tap.vae.decoder.mid_block", x);
    check("tap.vae.decoder.up_blocks.0", x = decode.up_blocks[0](x));
    for (std::size_t i = 1; i < decode.up_blocks.size(); ++i) x = decode.up_blocks[i](x);
    check("tap.vae.decoder.up_blocks.-1", x);
    check("one_step.decoder_out", decode(z));
    check("vae.out", decode(golden["vae.in"]));
    test::check_absolute(golden.name + " image", to_image(decode(z)), golden["image"], 1e-5);
  }
}

TEST_CASE("The decoder asks for exactly the tensors of the published checkpoints", "[nn]") {
  for (const std::string name :
       {"sd-turbo.vae", "sdxl-base.vae", "sdxl-vae-fp16-fix", "pixart.vae", "flux-schnell.vae"})
    test::check_manifest(name,
                         [](const Weights& w, const Config& config) {
                           return AutoencoderKLDecoder(w, AutoencoderKLConfig(config));
                         },
                         {"encoder.", "quant_conv."});
}

TEST_CASE("Checkpoints with the old names of the attention load", "[nn]") {
  const auto now = random_decoder("{}");
  TensorShapes shapes;
  {
    const auto recorder = std::make_shared<ShapeRecorder>();
    const AutoencoderKLDecoder recorded(Weights(recorder, at::kMeta, at::kFloat), vae_config("{}"));
    shapes = recorder->recorded();
  }
  const std::string scope = "decoder.mid_block.attentions.0.";
  TensorShapes then;
  for (const auto& [stored, shape] : shapes) {
    std::string name = stored;
    for (const auto& [now, old] : {std::pair{"to_q.", "query."}, std::pair{"to_k.", "key."},
                                   std::pair{"to_v.", "value."}, std::pair{"to_out.0.", "proj_attn."}})
      if (name.starts_with(scope + now)) name = scope + old + name.substr((scope + now).size());
    then.emplace(name, shape);
  }
  REQUIRE(then.contains(scope + "proj_attn.weight"));
  const Weights old(std::make_shared<const RandomSource>(1, 1.0, then), at::kCPU, at::kFloat);
  const AutoencoderKLDecoder decode(old, vae_config("{}"));
  CHECK(old.unused().empty());
  CHECK(decode(at::randn({1, 4, 4, 4})).isfinite().all().item<bool>());
}

TEST_CASE("A decoder without attention and post_quant_conv", "[nn]") {
  const auto decode = random_decoder(R"({"mid_block_add_attention": false, "use_post_quant_conv": false})");
  CHECK_FALSE(decode.post_quant_conv);
  CHECK_FALSE(decode.mid_block.attention);
  CHECK(decode(at::randn({2, 4, 4, 6})).sizes() == at::IntArrayRef({2, 3, 8, 12}));
}

TEST_CASE("The decoder's gradient agrees with finite differences", "[nn]") {
  const auto decode = random_decoder("{}", at::kDouble);
  const at::TensorOptions options(at::kDouble);
  const auto weights = at::randn({1, 3, 8, 8}, options), direction = at::randn({1, 4, 4, 4}, options);
  const auto value = [&](const at::Tensor& z) { return (decode(z) * weights).sum(); };
  const auto z = at::randn({1, 4, 4, 4}, options).requires_grad_(true);
  value(z).backward();
  const auto slope = (z.grad() * direction).sum().item<double>();
  const c10::NoGradGuard no_grad;
  const double h = 1e-5;
  CHECK((value(z + h * direction) - value(z - h * direction)).item<double>() / (2 * h) ==
        Approx(slope).epsilon(1e-6));
}

TEST_CASE("to_image passes the gradient inside the bounds and on them", "[nn]") {
  const auto decoded = at::tensor({-2.0, -1.0, 0.0, 1.0, 1.5}).requires_grad_(true);
  to_image(decoded).sum().backward();
  CHECK(at::equal(decoded.grad(), at::tensor({0.0, 0.5, 0.5, 0.5, 0.0})));
}

TEST_CASE("A decoder configuration that is not implemented is refused", "[nn]") {
  using Catch::Contains;
  CHECK_THROWS_WITH(vae_config(R"({"act_fn": "gelu"})"),
                    Contains("vae/config.json: act_fn = \"gelu\" is not supported"));
  CHECK_THROWS_WITH(vae_config(R"({"up_block_types": ["UpDecoderBlock2D"]})"),
                    Contains("as many as in up_block_types (1)"));
  CHECK_THROWS_WITH(vae_config(R"({"up_block_types": ["UpDecoderBlock2D", "AttnUpDecoderBlock2D"]})"),
                    Contains("AttnUpDecoderBlock2D"));
  CHECK_THROWS_WITH(vae_config(R"({"norm_num_groups": 5})"), Contains("norm_num_groups = 5"));
  CHECK_THROWS_WITH(vae_config(R"({"scaling_factor": 0})"), Contains("scaling_factor"));
}
