#include <c10/core/GradMode.h>

#include <catch2/catch.hpp>

#include "reno/io/checkpoint.hpp"
#include "reno/io/safetensors.hpp"
#include "reno/nn/autoencoder_kl.hpp"
#include "reno/nn/autoencoder_tiny.hpp"
#include "support/golden.hpp"

using namespace reno;
using namespace reno::nn;

namespace {

const std::filesystem::path& folder() {
  static const std::filesystem::path path = RENO_TEST_DATA "/nn/autoencoder_tiny";
  return path;
}

AutoencoderTinyConfig tiny_vae_config(const std::string& text) {
  return AutoencoderTinyConfig(Config::parse(text, "preview/config.json"));
}

AutoencoderTinyDecoder random_decoder(at::ScalarType dtype) {
  return {Weights::random(1, at::kCPU, dtype),
          tiny_vae_config(R"({"decoder_block_out_channels": [6, 6], "num_decoder_blocks": [1, 1]})")};
}

}  // namespace

TEST_CASE("The small decoder and its gradient agree with diffusers", "[nn][goldens]") {
  const AutoencoderTinyConfig config(Config::read(folder() / "config.json"));
  const Weights weights(open_checkpoint(folder(), "diffusion_pytorch_model"), at::kCPU, at::kFloat);
  const auto golden = open_safetensors(folder() / "golden.safetensors");
  for (const bool recompute : {false, true}) {
    AutoencoderTinyDecoder decode(weights, config);
    decode.recompute = recompute;
    const auto z = golden->read("z").clone().requires_grad_(true);
    const auto decoded = decode(z);
    const auto image = to_image(decoded);
    (image * golden->read("weights")).sum().backward();
    test::check_to_largest("autoencoder_tiny decoded", decoded.detach(), golden->read("decoded"), 1e-5);
    test::check_absolute("autoencoder_tiny image", image.detach(), golden->read("image"), 1e-5);
    test::check_relative_norm("autoencoder_tiny grad", z.grad(), golden->read("grad"), 1e-4);
  }
  for (const auto& name : weights.unused()) CHECK(name.starts_with("encoder."));
  CHECK(config.scale_factor() == 4);
  CHECK(config.scaling_factor == 0.5);
}

TEST_CASE("The small decoder asks for the tensors of the published ones", "[nn]") {
  const auto recorder = std::make_shared<ShapeRecorder>();
  const AutoencoderTinyConfig config = tiny_vae_config("{}");
  const AutoencoderTinyDecoder decoder(Weights(recorder, at::kMeta, at::kFloat), config);
  const auto shapes = recorder->recorded();
  using Shape = std::vector<std::int64_t>;
  CHECK(config.scale_factor() == 8);
  CHECK(shapes.size() == 10 * 6 + 2 + 3 + 2);  // ten blocks, the first, three between levels, the last
  CHECK(shapes.at("decoder.layers.0.weight") == Shape{64, 4, 3, 3});
  CHECK(shapes.at("decoder.layers.4.conv.4.bias") == Shape{64});
  CHECK(shapes.at("decoder.layers.6.weight") == Shape{64, 64, 3, 3});
  CHECK_FALSE(shapes.contains("decoder.layers.6.bias"));
  CHECK(shapes.at("decoder.layers.17.conv.2.weight") == Shape{64, 64, 3, 3});
  CHECK(shapes.at("decoder.layers.18.weight") == Shape{3, 64, 3, 3});
  CHECK(shapes.at("decoder.layers.18.bias") == Shape{3});
}

TEST_CASE("The small decoder's gradient agrees with finite differences", "[nn]") {
  at::manual_seed(5);
  const auto decode = random_decoder(at::kDouble);
  const at::TensorOptions options(at::kDouble);
  const auto weights = at::randn({1, 3, 8, 8}, options), direction = at::randn({1, 4, 4, 4}, options);
  const auto value = [&](const at::Tensor& z) { return (decode(z) * weights).sum(); };
  const auto z = at::randn({1, 4, 4, 4}, options).requires_grad_(true);
  value(z).backward();
  const auto slope = (z.grad() * direction).sum().item<double>();
  const c10::NoGradGuard no_grad;
  const double h = 1e-7;  // small: the function has kinks
  CHECK((value(z + h * direction) - value(z - h * direction)).item<double>() / (2 * h) ==
        Approx(slope).epsilon(1e-5));
}

TEST_CASE("A small decoder whose configuration is not implemented is refused", "[nn]") {
  using Catch::Contains;
  CHECK_THROWS_WITH(tiny_vae_config(R"({"upsample_fn": "bilinear"})"),
                    Contains("preview/config.json: upsample_fn = \"bilinear\" is not supported"));
  CHECK_THROWS_WITH(tiny_vae_config(R"({"decoder_block_out_channels": [64, 64, 64, 32]})"),
                    Contains("64 and 32"));
  CHECK_THROWS_WITH(tiny_vae_config(R"({"decoder_block_out_channels": [64, 64]})"),
                    Contains("one for each of 4"));
  CHECK_THROWS_WITH(tiny_vae_config(R"({"num_decoder_blocks": []})"), Contains("expected 1 to 16"));
}
