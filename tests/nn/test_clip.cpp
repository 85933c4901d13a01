#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <catch2/catch.hpp>

#include "reno/image/preprocess.hpp"
#include "reno/io/checkpoint.hpp"
#include "reno/nn/clip.hpp"
#include "reno/nn/meta_kernels.hpp"
#include "support/golden.hpp"
#include "support/manifests.hpp"

namespace nn = reno::nn;
using namespace reno::test;
using Catch::Matchers::Message;

namespace {

nn::CLIPConfig tiny_config() {
  return nn::CLIPConfig(reno::Config::parse(R"({
    "projection_dim": 8,
    "text_config": {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
                    "vocab_size": 20, "max_position_embeddings": 10, "eos_token_id": 19},
    "vision_config": {"hidden_size": 12, "intermediate_size": 20, "num_hidden_layers": 2, "num_attention_heads": 3,
                      "image_size": 8, "patch_size": 4}
  })",
                                            "tiny"));
}

nn::CLIPModel tiny_model(at::ScalarType dtype, at::Device device = at::kCPU) {
  return nn::CLIPModel(reno::Weights::random(3, device, dtype), tiny_config());
}

nn::TokenIds rows(const at::Tensor& ids) {
  nn::TokenIds result;
  for (std::int64_t i = 0; i < ids.size(0); ++i) {
    const auto row = ids[i].contiguous();
    result.emplace_back(row.const_data_ptr<std::int64_t>(), row.const_data_ptr<std::int64_t>() + row.numel());
  }
  return result;
}

}  // namespace

TEST_CASE("CLIPModel agrees with transformers, layer by layer") {
  for (const std::string name : {"clip", "pickscore"}) {
    for (const auto& golden : goldens("rewards/" + name)) {
      INFO(name << " " << golden.preset);
      const reno::Weights weights(reno::open_checkpoint(golden.folder, "model"), at::kCPU, at::kFloat);
      const nn::CLIPModel model(weights, nn::CLIPConfig(reno::Config::read(golden.folder / "config.json")));
      CHECK(weights.unused().empty());

      for (std::size_t i = 0; i < golden.json["cases"].size(); ++i) {
        const auto key = fmt::format("case{}.", i);
        check_close("CLIPModel text_features", model.get_text_features(rows(golden[key + "input_ids"])),
                    golden[key + "text_features"], Measure::of_largest, 2e-5);
      }
      const auto pixels = reno::preprocess(golden["image0"], reno::Preprocess{});
      auto hidden = model.vision_model.embed(pixels);
      for (std::size_t i = 0; i < model.vision_model.layers.size(); ++i) {
        hidden = model.vision_model.layers[i](hidden, /*causal=*/false);
        check_close("CLIPModel vision_layer", hidden[0].narrow(0, 0, 2),
                    golden[fmt::format("case0.vision_layer{}", i)], Measure::of_largest, 2e-5);
      }
      check_close("CLIPModel image_features", model.get_image_features(pixels),
                  golden["case0.image_features"], Measure::of_largest, 2e-5);
    }
  }
}

TEST_CASE("CLIP configuration: transformers' defaults, and the older sections in front") {
  const nn::CLIPConfig defaults(reno::Config::parse("{}", "config.json"));
  CHECK(defaults.projection_dim == 512);
  CHECK(defaults.text_config.hidden_act == "quick_gelu");
  CHECK(defaults.text_config.hidden_size == 512);
  CHECK(defaults.text_config.intermediate_size == 2048);
  CHECK(defaults.text_config.num_attention_heads == 8);
  CHECK(defaults.text_config.num_hidden_layers == 12);
  CHECK(defaults.text_config.layer_norm_eps == 1e-5);
  CHECK(defaults.text_config.vocab_size == 49408);
  CHECK(defaults.text_config.max_position_embeddings == 77);
  CHECK(defaults.text_config.eos_token_id == 49407);
  CHECK(defaults.vision_config.hidden_size == 768);
  CHECK(defaults.vision_config.intermediate_size == 3072);
  CHECK(defaults.vision_config.num_attention_heads == 12);
  CHECK(defaults.vision_config.image_size == 224);
  CHECK(defaults.vision_config.patch_size == 32);
  CHECK(defaults.vision_config.num_patches() == 49);

  const nn::CLIPConfig older(reno::Config::parse(R"({
    "text_config": {"hidden_size": 64, "eos_token_id": 2}, "text_config_dict": {"hidden_size": 128},
    "vision_config": {"patch_size": 16}, "vision_config_dict": null})",
                                                 "config.json"));
  CHECK(older.text_config.hidden_size == 128);
  CHECK(older.text_config.eos_token_id == 49407);
  CHECK(older.vision_config.patch_size == 16);

  const auto text = [](const char* json) { nn::CLIPTextConfig(reno::Config::parse(json, "config.json")); };
  CHECK_THROWS_MATCHES(text(R"({"num_attention_heads": 7})"), reno::LoadError,
                       Message("config.json: num_attention_heads = 7 does not divide hidden_size = 512"));
  CHECK_THROWS_MATCHES(text(R"({"hidden_size": 99999999})"), reno::LoadError,
                       Message("config.json: hidden_size = 99999999 is outside [1, 1048576]"));
  CHECK_THROWS_MATCHES(nn::CLIPVisionConfig(reno::Config::parse(R"({"patch_size": 300})", "config.json")),
                       reno::LoadError,
                       Message("config.json: patch_size = 300 is larger than image_size = 224"));
}

TEST_CASE("CLIPTextModel asks for exactly the tensors of the published text encoders") {
  for (const std::string name : {"clip-l.text_encoder", "clip-h.text_encoder"})
    check_manifest(name, [](const reno::Weights& w, const reno::Config& config) {
      return nn::CLIPTextModel(w, nn::CLIPTextConfig(config));
    });
  check_manifest("clip-bigg.text_encoder_2", [](const reno::Weights& w, const reno::Config& config) {
    return nn::CLIPTextModelWithProjection(w, nn::CLIPTextConfig(config));
  });
}

TEST_CASE("CLIPTextModel: what stands behind the end token changes nothing of what is pooled") {
  const auto model = tiny_model(at::kDouble);
  const auto alone = model.text_model({{18, 4, 5, 19}});
  const auto padded = model.text_model({{18, 4, 5, 19, 19, 19}, {18, 7, 19, 0, 0, 0}});
  CHECK(alone.pooled.sizes() == at::IntArrayRef{1, 16});
  CHECK(at::allclose(padded.pooled[0], alone.pooled[0], 1e-12, 1e-12));
  CHECK(at::allclose(padded.last_hidden_state[0].narrow(0, 0, 4), alone.last_hidden_state[0], 1e-12, 1e-12));
  CHECK(at::equal(padded.pooled[1], padded.last_hidden_state[1][2]));
}

TEST_CASE("CLIPTextModel: penultimate is what the last layer sees") {
  const auto model = tiny_model(at::kDouble).text_model;
  const auto output = model({{18, 4, 5, 19}});
  const auto last = model.final_layer_norm(model.layers.back()(output.penultimate, /*causal=*/true));
  CHECK(at::equal(last, output.last_hidden_state));
  CHECK_FALSE(at::allclose(output.penultimate, output.last_hidden_state));
}

TEST_CASE("CLIPTextModel: the end token is the first one, or the largest id where eos_token_id is 2") {
  auto model = tiny_model(at::kFloat).text_model;
  CHECK(model.end_position({18, 4, 19, 3, 19}) == 2);
  CHECK_THROWS_MATCHES(model.end_position({18, 4, 5}), reno::LoadError,
                       Message("the text encoder's eos_token_id 19 is not the end token of the tokenizer"));
  model.eos_token_id = 2;
  CHECK(model.end_position({18, 2, 19, 3, 19}) == 2);
}

TEST_CASE("CLIPTextModel: ids that do not fit are errors before they reach a device") {
  const auto model = tiny_model(at::kFloat).text_model;
  const auto message = [&](const nn::TokenIds& ids, const std::string& expected) {
    CHECK_THROWS_MATCHES(model(ids), reno::LoadError, Message(expected));
  };
  message({{18, 20, 19}}, "token id 20, but this text encoder has a vocabulary of 20");
  message({{18, -1, 19}}, "token id -1, but this text encoder has a vocabulary of 20");
  message({{18, 19}, {18, 3, 19}}, "prompts of 2 and 3 tokens in one batch");
  message({std::vector<std::int64_t>(11, 19)},
          "a prompt of 11 tokens, this text encoder has positions for 1 to 10");
  message({}, "a prompt of 0 tokens, this text encoder has positions for 1 to 10");
}

TEST_CASE("CLIPVisionModel: the gradient agrees with finite differences, image by image") {
  const auto model = tiny_model(at::kDouble);
  at::manual_seed(0);
  auto pixels = at::randn({2, 3, 8, 8}, at::TensorOptions(at::kDouble)).requires_grad_(true);
  const auto weight = at::randn({2, 8}, at::TensorOptions(at::kDouble));
  const auto value = [&](const at::Tensor& x) { return (model.get_image_features(x) * weight).sum(); };
  torch::autograd::backward({value(pixels)});

  const auto direction = at::randn_like(pixels);
  const double step = 1e-5;
  const auto difference =
      (value(pixels.detach() + step * direction) - value(pixels.detach() - step * direction)) / (2 * step);
  const auto slope = (pixels.grad() * direction).sum();
  CHECK(slope.item<double>() == Approx(difference.item<double>()).epsilon(1e-7));

  const auto both = model.get_image_features(pixels.detach());
  CHECK(at::allclose(model.get_image_features(pixels.detach().narrow(0, 1, 1))[0], both[1], 1e-12, 1e-12));
}

TEST_CASE("CLIPModel keeps dtype and device, meta included") {
  reno::register_meta_kernels();
  for (const auto dtype : {at::kFloat, at::kHalf, at::kBFloat16, at::kDouble}) {
    const auto model = tiny_model(dtype);
    const auto reference = tiny_model(at::kDouble);
    const auto pixels = at::linspace(-1, 1, 192, at::TensorOptions(at::kDouble)).view({1, 3, 8, 8});
    const auto features = model.get_image_features(pixels.to(dtype));
    CHECK(features.scalar_type() == dtype);
    CHECK(model.get_text_features({{18, 19}}).scalar_type() == dtype);
    const double tolerance = dtype == at::kBFloat16 ? 5e-2 : dtype == at::kHalf ? 5e-3 : 1e-5;
    CHECK(deviation(features, reference.get_image_features(pixels), Measure::of_largest) < tolerance);

    const auto shadow = tiny_model(dtype, at::kMeta);
    CHECK(shadow.get_image_features(at::empty({2, 3, 8, 8}, at::TensorOptions(dtype).device(at::kMeta)))
              .sizes() == at::IntArrayRef{2, 8});
    CHECK(shadow.get_text_features({{18, 4, 19}, {18, 19, 19}}).sizes() == at::IntArrayRef{2, 8});
  }
}
