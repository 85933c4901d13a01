#include "../../plugins/rewards/imagereward/imagereward.hpp"
#include "plugins/reward_checks.hpp"
#include "reno/registry.hpp"
#include "support/manifests.hpp"

using reno::ImageReward;
using namespace reno::test;
namespace nn = reno::nn;

static_assert(reno::Reward<ImageReward>);

namespace {

/// One prompt for all images, or one each.
reno::Prompts spread(const reno::Prompts& prompts, std::int64_t count) {
  return prompts.size() == 1 ? reno::Prompts(static_cast<std::size_t>(count), prompts.front()) : prompts;
}

}  // namespace

TEST_CASE("imagereward agrees with the image-reward package: losses and gradients") {
  for (const auto& golden : goldens("rewards/imagereward")) {
    const auto mean = [](ImageReward& model, const at::Tensor& pixels, const reno::Prompts& prompts) {
      return model.score(pixels, model.encode(spread(prompts, pixels.size(0)))).mean();
    };
    for (const auto device : devices()) {
      const LoggedContext context(at::kFloat, device);
      auto reward = open_from<ImageReward>(golden.folder, context);
      CHECK(context.logged().empty());
      check_golden("imagereward", reward, golden, {.loss = 5e-5}, mean, device);
    }
  }
}

TEST_CASE("imagereward: ids, masks and features") {
  for (const auto& golden : goldens("rewards/imagereward")) {
    const LoggedContext context;
    const auto reward = open_from<ImageReward>(golden.folder, context);
    const auto tokenizer =
        reno::WordPieceTokenizer::from_file(golden.folder / "vocab.txt", {"[DEC]", "[ENC]"});
    for (const auto& golden_case : golden.json["cases"]) {
      const auto key = fmt::format("case{}.", golden_case["case"].get<int>());
      INFO(golden.preset << " " << key);
      const auto prompts = prompts_of(golden_case);
      for (std::size_t i = 0; i < prompts.size(); ++i) {
        const auto tokens = tokenizer.encode(prompts[i], 35);
        const auto row = static_cast<std::int64_t>(i);
        CHECK(at::equal(at::tensor(tokens.ids, at::kLong), golden[key + "input_ids"][row]));
        CHECK(at::equal(at::tensor(tokens.attention_mask(), at::kLong), golden[key + "attention_mask"][row]));
      }
      const auto image = fmt::format("image{}", golden_case["image"].get<int>());
      if (!golden.has(image)) continue;
      const auto pixels = reno::preprocess(golden[image], reward.preprocess());
      check_close("imagereward image_features", reward.image_features(pixels).narrow(1, 0, 3),
                  golden[key + "image_features"], Measure::of_largest, 2e-5);
      const auto features = reward.encode(spread(prompts, pixels.size(0)));
      check_close("imagereward text_features", reward.multimodal(pixels, features).select(1, 0),
                  golden[key + "text_features"], Measure::of_largest, 2e-5);
      check_close("imagereward score", reward.score(pixels, features).unsqueeze(1), golden[key + "score"],
                  Measure::absolute, 5e-5);
    }
  }
}

TEST_CASE("imagereward asks for what the published checkpoint has") {
  check_manifest("reward.imagereward",
                 [](const reno::Weights& w, const reno::Config& config) {
                   const nn::VisionTransformerConfig vision;
                   const nn::BertConfig text(config.section("med_config"), vision.width);
                   CHECK(vision.width == config.size("encoder_width_used"));
                   return std::tuple(nn::VisionTransformer(w / "blip.visual_encoder", vision),
                                     nn::BertModel(w / "blip.text_encoder", text),
                                     nn::RewardHead(w / "mlp", text.hidden_size));
                 },
                 {"blip.vision_proj.", "blip.text_proj."});
}

TEST_CASE("imagereward warns of a prompt that is too long") {
  const LoggedContext context;
  std::string prompt = "cat";
  for (int i = 1; i < 40; ++i) prompt += " cat";
  open_from<ImageReward>(repository_golden("imagereward"), context).encode({prompt});
  CHECK(context.logged() ==
        "warning: imagereward: the model reads 33 tokens; the last 7 of this prompt are cut "
        "off: " +
            prompt + "\n");
}

TEST_CASE("imagereward with the shapes world's weights prefers true captions") {
  if (const auto folder = shapes_weights("imagereward"); !folder.empty())
    check_prefers_true_captions(open_from<ImageReward>(folder, LoggedContext()));
}

TEST_CASE("imagereward registers with its published constants") {
  reno::Registry registry;
  registry.add<ImageReward>("imagereward", "");
  CHECK(registry.rewards.at("imagereward").default_weight == 1.0);
  CHECK(ImageReward::ceiling == 2.0);
}
