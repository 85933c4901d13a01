#include "../../plugins/rewards/aesthetic/aesthetic.hpp"
#include "plugins/reward_checks.hpp"
#include "reno/registry.hpp"
#include "support/manifests.hpp"

using reno::Aesthetic;
using namespace reno::test;
namespace nn = reno::nn;

static_assert(reno::Reward<Aesthetic>);

namespace {

Aesthetic open_from(const std::filesystem::path& weights, const std::filesystem::path& clip,
                    const reno::Context& context) {
  Aesthetic::Options options;
  options.weights = weights;
  options.clip = clip;
  return Aesthetic(options, context);
}

}  // namespace

TEST_CASE("aesthetic agrees with the original, from every form of CLIP's weights") {
  for (const auto& golden : goldens("rewards/aesthetic")) {
    // OpenAI's archive, its state dict, transformers' directory.
    for (const std::string clip : {"ViT-L-14.pt", "ViT-L-14.state_dict.pt", "hf"}) {
      if (!std::filesystem::exists(golden.folder / clip)) continue;
      INFO(clip);
      const auto mean = [](Aesthetic& aesthetic, const at::Tensor& pixels, const reno::Prompts& prompts) {
        return aesthetic.score(pixels, aesthetic.encode(prompts)).mean();
      };
      for (const auto device : devices()) {
        const LoggedContext context(at::kFloat, device);
        auto reward = open_from(golden.folder, golden.folder / clip, context);
        CHECK(context.logged().empty());
        check_golden("aesthetic (" + clip + ")", reward, golden, {.loss = 1e-5}, mean, device);
      }
    }
  }
}

TEST_CASE("OpenAI's archive under transformers' names: features and layers") {
  for (const auto& golden : goldens("rewards/aesthetic")) {
    INFO(golden.preset);
    const auto source =
        std::make_shared<const nn::OpenClipSource>(reno::open_tensor_file(golden.folder / "ViT-L-14.pt"));
    const reno::Weights weights(source, at::kCPU, at::kFloat);
    const nn::CLIPModel model(weights, nn::open_clip_config(*source, "quick_gelu"));
    CHECK(weights.unused().empty());
    const auto pixels = reno::preprocess(golden["image0"], reno::Preprocess{});
    check_close("aesthetic image_features", model.get_image_features(pixels), golden["case0.image_features"],
                Measure::of_largest, 2e-5);
    auto hidden = model.vision_model.embed(pixels);
    for (std::size_t i = 0; i < model.vision_model.layers.size(); ++i) {
      hidden = model.vision_model.layers[i](hidden, /*causal=*/false);
      check_close("aesthetic vision_layer", hidden[0].narrow(0, 0, 2),
                  golden[fmt::format("case0.vision_layer{}", i)], Measure::of_largest, 2e-5);
    }
  }
}

TEST_CASE("aesthetic asks for what the published checkpoints have") {
  const auto shapes = manifest_shapes("reward.aesthetic.openai-clip-l14");
  const auto recorder = std::make_shared<const reno::ShapeRecorder>(shapes);
  const auto source = std::make_shared<const nn::OpenClipSource>(recorder);
  const reno::Weights weights(source, at::kMeta, at::kHalf);
  const nn::CLIPModel model(weights, nn::open_clip_config(*source, "quick_gelu"));
  CHECK(model.vision_model.layers[0].self_attn.heads == 16);
  CHECK(weights.unused().empty());
  CHECK(source->names().size() == shapes.size() + 2 * 2 * (12 + 24));  // three of each fused in_proj

  check_manifest("reward.aesthetic.transformers-clip-l14",
                 [](const reno::Weights& w, const reno::Config& config) {
                   return nn::CLIPModel(w, nn::CLIPConfig(config));
                 });
  check_manifest("reward.aesthetic.head",
                 [](const reno::Weights& w, const reno::Config&) { return nn::RewardHead(w, 768); });
}

TEST_CASE("aesthetic with the shapes world's weights prefers clean pictures to noise") {
  const auto folder = shapes_weights("aesthetic");
  if (folder.empty()) return;
  const auto reward = open_from(folder, folder / "hf", LoggedContext());
  at::manual_seed(0);
  const auto clean = shapes_pictures();
  const auto noisy = (clean + 0.3 * at::randn_like(clean)).clamp(0, 1);
  const auto score = [&](const at::Tensor& images) {
    return reward.score(reno::preprocess(images, reward.preprocess()), {});
  };
  CHECK((score(clean) > score(noisy)).all().item<bool>());
}

TEST_CASE("aesthetic registers with its published constants") {
  reno::Registry registry;
  registry.add<Aesthetic>("aesthetic", "");
  CHECK(registry.rewards.at("aesthetic").default_weight == 0.0);
  CHECK(Aesthetic::ceiling == 10.0);
}
