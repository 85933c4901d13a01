#include "../../plugins/rewards/hpsv2/hpsv2.hpp"
#include "plugins/reward_checks.hpp"
#include "reno/registry.hpp"
#include "support/manifests.hpp"

using reno::Hpsv2;
using namespace reno::test;
namespace nn = reno::nn;

static_assert(reno::Reward<Hpsv2>);

namespace {

nn::TokenIds rows(const at::Tensor& ids) {
  nn::TokenIds result;
  for (std::int64_t i = 0; i < ids.size(0); ++i) {
    const auto row = ids[i].contiguous();
    result.emplace_back(row.const_data_ptr<std::int64_t>(), row.const_data_ptr<std::int64_t>() + row.numel());
  }
  return result;
}

}  // namespace

TEST_CASE("hpsv2 agrees with the hpsv2 package: losses and gradients") {
  for (const auto& golden : goldens("rewards/hpsv2")) {
    // The package's loss is that of the first image with the first prompt alone.
    const auto first = [](Hpsv2& hpsv2, const at::Tensor& pixels, const reno::Prompts& prompts) {
      return hpsv2.score(pixels.narrow(0, 0, 1), hpsv2.encode({prompts.front()}))[0];
    };
    for (const auto device : devices()) {
      const LoggedContext context(at::kFloat, device);
      auto reward = open_from<Hpsv2>(golden.folder, context);
      CHECK(context.logged().empty());
      check_golden("hpsv2", reward, golden, {.loss = 1e-5}, first, device);
    }
  }
}

TEST_CASE("open_clip's tensors under transformers' names: ids, features and layers") {
  for (const auto& golden : goldens("rewards/hpsv2")) {
    INFO(golden.preset);
    const auto source = std::make_shared<const nn::OpenClipSource>(
        reno::open_tensor_file(golden.folder / "HPS_v2.1_compressed.pt"));
    const auto sizes = reno::Config::read(golden.folder / "open_clip_config.json").section("model_cfg");
    const auto text = sizes.section("text_cfg");
    const auto vision = sizes.section("vision_cfg");
    const auto config = nn::open_clip_config(
        *source, "gelu", {vision.size("head_width"), text.size("width") / text.size("heads")});
    CHECK(config.text_config.vocab_size == text.size("vocab_size"));
    CHECK(config.text_config.num_hidden_layers == text.size("layers"));
    CHECK(config.text_config.max_position_embeddings == text.size("context_length"));
    CHECK(config.vision_config.num_hidden_layers == vision.size("layers"));
    CHECK(config.vision_config.image_size == vision.size("image_size"));
    CHECK(config.vision_config.patch_size == vision.size("patch_size"));
    CHECK(config.projection_dim == sizes.size("embed_dim"));

    const reno::Weights weights(source, at::kCPU, at::kFloat);
    const nn::CLIPModel model(weights, config);
    CHECK(weights.unused().empty());
    const auto tokenizer = reno::ClipTokenizer::from_directory(golden.folder, reno::ClipTextStyle::open_clip);
    for (const auto& golden_case : golden.json["cases"]) {
      const auto key = fmt::format("case{}.", golden_case["case"].get<int>());
      const auto ids = golden[key + "input_ids"];
      const auto prompts = prompts_of(golden_case);
      for (std::size_t i = 0; i < prompts.size(); ++i)
        CHECK(tokenizer.encode(prompts[i]).ids == rows(ids)[i]);
      check_close("hpsv2 text_features", model.get_text_features(rows(ids)), golden[key + "text_features"],
                  Measure::of_largest, 2e-5);
      const auto image = fmt::format("image{}", golden_case["image"].get<int>());
      if (!golden.has(image)) continue;
      const auto pixels = reno::preprocess(golden[image], reno::Preprocess{});
      check_close("hpsv2 image_features", model.get_image_features(pixels), golden[key + "image_features"],
                  Measure::of_largest, 2e-5);
    }
    auto hidden = model.vision_model.embed(reno::preprocess(golden["image0"], reno::Preprocess{}));
    for (std::size_t i = 0; i < model.vision_model.layers.size(); ++i) {
      hidden = model.vision_model.layers[i](hidden, /*causal=*/false);
      check_close("hpsv2 vision_layer", hidden[0].narrow(0, 0, 2),
                  golden[fmt::format("case0.vision_layer{}", i)], Measure::of_largest, 2e-5);
    }
  }
}

TEST_CASE("hpsv2 asks for what the published checkpoint has") {
  const auto shapes = manifest_shapes("reward.hpsv2");
  const auto recorder = std::make_shared<const reno::ShapeRecorder>(shapes);
  const auto source = std::make_shared<const nn::OpenClipSource>(recorder);
  const reno::Weights weights(source, at::kMeta, at::kHalf);
  const nn::CLIPModel model(weights, nn::open_clip_config(*source, "gelu", {.vision = 80, .text = 64}));
  CHECK(model.vision_model.layers.size() == 32);
  CHECK(model.vision_model.layers[0].self_attn.heads == 16);
  CHECK(weights.unused().empty());  // and every shape fits, or the model could not have been built
  CHECK(source->names().size() == shapes.size() + 2 * 2 * (24 + 32));  // three of each fused in_proj
}

TEST_CASE("hpsv2: a checkpoint of another kind is named as such") {
  const LoggedContext context;
  Hpsv2::Options options;
  options.weights = RENO_TEST_DATA "/goldens/a/rewards/clip/model.safetensors";
  CHECK_THROWS_AS(Hpsv2(options, context), reno::LoadError);
  const auto shapes = reno::TensorShapes{{"weight", {3, 3}}};
  const nn::OpenClipSource source(std::make_shared<const reno::ShapeRecorder>(shapes));
  CHECK_THROWS_MATCHES(nn::open_clip_config(source, "gelu"), reno::LoadError,
                       Catch::Matchers::Message(
                           "shape recorder: is not a CLIP checkpoint of open_clip or OpenAI: it has nothing "
                           "that transformers calls vision_model.encoder.layers.0.mlp.fc1.weight"));
}

TEST_CASE("hpsv2 with the shapes world's weights prefers true captions") {
  if (const auto folder = shapes_weights("hpsv2"); !folder.empty())
    check_prefers_true_captions(open_from<Hpsv2>(folder, LoggedContext()));
}

TEST_CASE("hpsv2 registers with its published constants") {
  reno::Registry registry;
  registry.add<Hpsv2>("hpsv2", "");
  CHECK(registry.rewards.at("hpsv2").default_weight == 5.0);
  CHECK(Hpsv2::ceiling == 1.0);
  CHECK(Hpsv2::Options().weights == "xswu/HPSv2");
}
