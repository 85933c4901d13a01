// T5's encoder against transformers.
#include <ATen/ATen.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "reno/io/checkpoint.hpp"
#include "reno/nn/meta_kernels.hpp"
#include "reno/nn/t5.hpp"
#include "support/golden.hpp"
#include "support/manifests.hpp"

using namespace reno;
using namespace reno::test;
using nn::T5Precision;
namespace fs = std::filesystem;

namespace {

struct Encoder {
  Weights weights;
  nn::T5Config config;
  nn::T5EncoderModel model;

  explicit Encoder(const fs::path& folder, at::ScalarType dtype = at::kFloat,
                   T5Precision precision = T5Precision::uniform)
      : weights(open_checkpoint(folder, "model"), at::kCPU, dtype),
        config(Config::read(folder / "config.json")),
        model(weights, config, precision) {}
};

nn::T5Config tiny_config() {
  return nn::T5Config(Config::parse(R"({"d_model": 16, "d_kv": 4, "d_ff": 24, "num_layers": 2, "num_heads": 3,
                                        "vocab_size": 20, "feed_forward_proj": "gated-gelu"})",
                                    "tiny"));
}

nn::TokenIds ids_of(const Golden& golden, const std::string& tokenizer, std::size_t prompt) {
  return {golden.json["tokens"][tokenizer]["prompts"][prompt]["ids"].get<std::vector<std::int64_t>>()};
}

nn::TokenIds mask_of(const Golden& golden, std::size_t prompt) {
  const auto row = golden[fmt::format("text.{}.attention_mask", prompt)].contiguous();
  const auto* data = row.const_data_ptr<std::int64_t>();
  return {{data, data + row.numel()}};
}

fs::path small_encoder() {
  return fs::path(RENO_TEST_DATA) / "goldens/a/generators/pixart/base/text_encoder";
}

}  // namespace

TEST_CASE("T5EncoderModel agrees with transformers: padding hidden, as PixArt wants it", "[nn][t5]") {
  const c10::NoGradGuard no_grad;
  for (const auto& golden : goldens("generators/pixart")) {
    INFO(golden.name);
    const Encoder encoder(golden.folder / "base/text_encoder");
    CHECK(encoder.weights.unused().empty());
    for (const std::size_t i : golden.json["embed_prompts"]) {
      const auto key = fmt::format("text.{}.prompt_embeds", i);
      if (!golden.has(key)) continue;
      check_to_largest("t5 text.prompt_embeds (pixart)",
                       encoder.model(ids_of(golden, "tokenizer", i), mask_of(golden, i)), golden[key], 1e-5);
    }
    const std::string tap = "tap.text_encoder.encoder.";
    const auto bias = encoder.model.position_bias(120) + encoder.model.mask_bias(mask_of(golden, 0));
    const auto hidden =
        encoder.model.shared(nn::token_matrix(ids_of(golden, "tokenizer", 0), 1 << 20, at::kCPU));
    check_to_largest("t5 " + tap + "block.0 (pixart)", encoder.model.blocks[0](hidden, bias),
                     golden[tap + "block.0"], 1e-5);
    const auto expected = golden[tap + "block.0#1"];
    const auto seen = expected > -1e30;  // the others have the lowest number of float32
    const auto rows = bias.slice(2, 0, std::nullopt, 16).contiguous();
    CHECK(at::equal(rows > -1e30, seen));
    check_absolute("t5 " + tap + "block.0#1 (pixart)", rows.masked_select(seen), expected.masked_select(seen),
                   1e-7);
    check_to_largest("t5 " + tap + "final_layer_norm (pixart)",
                     encoder.model(ids_of(golden, "tokenizer", 0), mask_of(golden, 0)),
                     golden[tap + "final_layer_norm"], 1e-5);
  }
}

TEST_CASE("T5EncoderModel agrees with transformers: padding seen, as FLUX wants it", "[nn][t5]") {
  const c10::NoGradGuard no_grad;
  for (const auto& golden : goldens("generators/flux-schnell")) {
    INFO(golden.name);
    const Encoder encoder(golden.folder / "model/text_encoder_2");
    CHECK(encoder.weights.unused().empty());
    for (const std::size_t i : golden.json["embed_prompts"])
      check_to_largest("t5 text.prompt_embeds (flux-schnell)",
                       encoder.model(ids_of(golden, "tokenizer_2", i)),
                       golden[fmt::format("text.{}.prompt_embeds", i)], 1e-5);
    const std::string tap = "tap.text_encoder_2.encoder.";
    if (!golden.has(tap + "block.0")) continue;
    const auto bias = encoder.model.position_bias(256);
    const auto hidden =
        encoder.model.shared(nn::token_matrix(ids_of(golden, "tokenizer_2", 0), 1 << 20, at::kCPU));
    check_to_largest("t5 " + tap + "block.0 (flux-schnell)", encoder.model.blocks[0](hidden, bias),
                     golden[tap + "block.0"], 1e-5);
    check_absolute("t5 " + tap + "block.0#1 (flux-schnell)", bias.slice(2, 0, std::nullopt, 16),
                   golden[tap + "block.0#1"], 1e-7);
  }
}

TEST_CASE("T5EncoderModel in half precision agrees with transformers, whose float16 keeps wo in float32",
          "[nn][t5]") {
  const c10::NoGradGuard no_grad;
  const auto reference = open_safetensors(fs::path(RENO_TEST_DATA) / "nn/t5_half.safetensors");
  const auto golden = goldens("generators/pixart").front();
  const auto run = [&](at::ScalarType dtype, T5Precision precision) {
    const Encoder encoder(small_encoder(), dtype, precision);
    const auto& wo = encoder.model.blocks[0].ff.wo.weight;
    CHECK((wo.scalar_type() == at::kFloat) == (dtype == at::kHalf && precision == T5Precision::float32_out));
    auto states = encoder.model(ids_of(golden, "tokenizer", 0), mask_of(golden, 0));
    CHECK(states.scalar_type() == dtype);
    return states;
  };
  // Two results that were rounded independently are about sqrt(2) times as far apart as each is from float32.
  const auto check = [&](const std::string& name, at::ScalarType dtype, T5Precision precision) {
    const auto expected = reference->read(name);
    const auto rounding = deviation(expected, golden["text.0.prompt_embeds"], Measure::of_largest);
    const auto got = run(dtype, precision);
    check_to_largest("t5 " + name, got, expected, 2 * rounding);
    check_to_largest("t5 " + name + " from float32", got, golden["text.0.prompt_embeds"], 1.5 * rounding);
  };
  check("float16.kept", at::kHalf, T5Precision::float32_out);
  check("float16.cast", at::kHalf, T5Precision::uniform);
  check("bfloat16", at::kBFloat16, T5Precision::float32_out);
}

TEST_CASE("T5EncoderModel: what overflows float16 stays finite", "[nn][t5]") {
  const c10::NoGradGuard no_grad;
  const Weights weights(std::make_shared<RandomSource>(1, 40.0), at::kCPU, at::kHalf);
  const nn::T5EncoderModel model(weights, tiny_config(), T5Precision::uniform);
  CHECK(model({{1, 2, 3, 4}}).isfinite().all().item<bool>());
}

TEST_CASE(
    "T5EncoderModel: a prompt in a batch is as it is alone; padding changes nothing that is not padding",
    "[nn][t5]") {
  const c10::NoGradGuard no_grad;
  const nn::T5EncoderModel model(Weights::random(3, at::kCPU, at::kDouble), tiny_config(),
                                 T5Precision::uniform);
  const auto together = model({{4, 5, 1, 0}, {6, 7, 8, 1}}, {{1, 1, 1, 0}, {1, 1, 1, 1}});
  const auto alone = model({{4, 5, 1}});
  check_absolute("t5 batch", together[0].narrow(0, 0, 3), alone[0], 1e-12);
  check_absolute("t5 batch", together.narrow(0, 1, 1), model({{6, 7, 8, 1}}), 1e-12);
  const auto seen = model({{4, 5, 1, 0}});
  CHECK(deviation(seen[0].narrow(0, 0, 3), alone[0], Measure::absolute) > 1e-3);
}

TEST_CASE("T5EncoderModel asks for exactly the published tensors", "[nn][t5]") {
  check_manifest("t5-v1_1-xxl.encoder", [](const Weights& w, const Config& config) {
    return nn::T5EncoderModel(w, nn::T5Config(config), T5Precision::uniform);
  });
}

TEST_CASE("T5EncoderModel takes the embedding under its other name", "[nn][t5]") {
  const c10::NoGradGuard no_grad;
  const auto renamed = [](std::string name) {
    return name == "shared.weight" ? std::string("encoder.embed_tokens.weight") : name;
  };
  TensorShapes shapes;
  const auto recorder = std::make_shared<ShapeRecorder>();
  nn::T5EncoderModel(Weights(recorder, at::kMeta, at::kFloat).renamed(renamed), tiny_config(),
                     T5Precision::uniform);
  const Weights weights(std::make_shared<RandomSource>(1, 1.0, recorder->recorded()), at::kCPU, at::kFloat);
  REQUIRE_FALSE(weights.has("shared.weight"));
  const nn::T5EncoderModel model(weights, tiny_config(), T5Precision::uniform);
  CHECK(weights.unused().empty());
}

TEST_CASE("T5EncoderModel runs on the meta device", "[nn][t5]") {
  const c10::NoGradGuard no_grad;
  register_meta_kernels();
  for (const auto dtype : {at::kFloat, at::kHalf}) {
    const nn::T5EncoderModel model(Weights(std::make_shared<ShapeRecorder>(), at::kMeta, dtype),
                                   tiny_config(), T5Precision::float32_out);
    const auto states = model({{4, 5, 1, 0}}, {{1, 1, 1, 0}});
    CHECK(states.sizes() == at::IntArrayRef({1, 4, 16}));
    CHECK(states.is_meta());
    CHECK(states.scalar_type() == dtype);
  }
}

TEST_CASE("T5: what does not fit is said", "[nn][t5]") {
  using Catch::Contains;
  const auto config = [](const char* text) { return nn::T5Config(Config::parse(text, "config.json")); };
  CHECK_THROWS_WITH(config("{}"), Contains("feed_forward_proj = 'relu' is not supported"));
  CHECK_THROWS_WITH(config(R"({"feed_forward_proj": "gated-gelu", "relative_attention_num_buckets": 6})"),
                    Contains("not a multiple of 4"));
  CHECK_THROWS_WITH(config(R"({"feed_forward_proj": "gated-gelu", "d_model": 0})"), Contains("d_model"));
  const nn::T5EncoderModel model(Weights::random(3, at::kCPU, at::kFloat), tiny_config(),
                                 T5Precision::uniform);
  CHECK_THROWS_WITH(model({{20}}), Contains("a vocabulary of 20"));
  CHECK_THROWS_WITH(model({{1, 2}, {3}}), Contains("prompts of 2 and 1 tokens"));
}
