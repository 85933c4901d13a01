// The stages that train rewards.
#include "shapes/train/reward_files.hpp"
#include "shapes/train/stages.hpp"
#include "shapes/train/train_aesthetic.hpp"
#include "shapes/train/train_clip.hpp"
#include "shapes/train/train_imagereward.hpp"

namespace reno::shapes {

namespace {

/// Trains what the plan says, after the vision tower of `clip` if it builds on that; returns it for writing.
template <class Write>
void train(ClipPlan plan, const StageOptions& options, bool builds_on_clip, Write&& write) {
  plan.seed = options.seed;
  if (options.tiny) plan = plan.tiny();
  const auto files = options.files("rewards/" + plan.name);
  ClipTraining training(plan.scaled(options.scale), files);
  if (builds_on_clip) training.start_from(clip_checkpoint(options, plan.name));
  training.run();
  write(training, files.model);
  say(fmt::format("{}  held out: {}", plan.name, training.words(options.tiny ? 20 : 100)));
}

void write_for_transformers(const ClipTraining& training, const std::filesystem::path& folder) {
  write_transformers_clip(folder, training.weights(), training.config(large_image, large_patch));
}

/// ImageReward standardises what its head says by these (ImageReward's own code).
constexpr double score_mean = 0.16717362830052426, score_deviation = 1.0333394966054072;

void write_imagereward(const ImageRewardTraining& training, const std::filesystem::path& folder) {
  write_json(folder / "med_config.json", bert_config_json(training.vocabulary()));
  write_json(folder / "model_dims.json", {{"vision_width", vision_width},
                                          {"vision_layers", vision_layers},
                                          {"vision_heads", vision_heads},
                                          {"patch_size", large_patch},
                                          {"text_width", text_width},
                                          {"text_layers", text_layers},
                                          {"text_heads", text_heads}});
  auto tensors = training.encoders();
  const auto [weight, bias] = training.linear();
  for (const auto& [name, tensor] :
       head_weights(weight * score_deviation, bias * score_deviation + score_mean))
    tensors.emplace("mlp." + name, tensor.to(at::kHalf));
  write_pytorch(folder / "ImageReward.pt", tensors);
}

}  // namespace

void train_clip(const StageOptions& options) {
  train({.name = "clip"}, options, false, write_for_transformers);
}

void train_pickscore(const StageOptions& options) {
  const ClipPlan plan{.name = "pickscore",
                      .steps = 1000,
                      .dense_only = 0,
                      .lr = 2e-3,
                      .muon_lr = .014,
                      .preference = 1.5,
                      .by_picture = .5,
                      .quality = .12,
                      .fresh_text = true};
  train(plan, options, true, write_for_transformers);
}

void train_hpsv2(const StageOptions& options) {
  const ClipPlan plan{.name = "hpsv2",
                      .steps = 700,
                      .dense_only = 0,
                      .lr = 2e-3,
                      .muon_lr = .012,
                      .preference = 1,
                      .by_picture = .7,
                      .quality = .3};
  train(plan, options, true, [](const ClipTraining& training, const std::filesystem::path& folder) {
    write_hpsv2(folder, training.weights(),
                training.config(large_image, large_patch)["text_config"]["vocab_size"]);
  });
}

void train_imagereward(const StageOptions& options) {
  ImageRewardPlan plan{.seed = options.seed};
  if (options.tiny) plan = {.seed = options.seed, .steps = 40, .groups = 5, .taught = 2};
  plan.steps = std::max(1, static_cast<int>(std::lround(options.scale * plan.steps)));
  const auto files = options.files("rewards/imagereward");
  ImageRewardTraining training(plan, files, clip_checkpoint(options, "imagereward"));
  training.run();
  write_imagereward(training, files.model);
  say("imagereward  held out: " + training.words(options.tiny ? 20 : 100));
}

void train_aesthetic(const StageOptions& options) {
  AestheticPlan plan{.seed = options.seed};
  if (options.tiny) plan = {.seed = options.seed, .steps = 30, .groups = 6, .taught = 2};
  plan.steps = std::max(1, static_cast<int>(std::lround(options.scale * plan.steps)));
  const auto files = options.files("rewards/aesthetic");
  AestheticTraining training(plan, files, clip_checkpoint(options, "aesthetic"));
  training.run();
  auto config = clip_config_json(large_image, large_patch, 8, 6, 7);
  write_transformers_clip(files.model / "hf", training.tower(), config);
  const auto [weight, bias] = training.linear();
  TensorMap head;
  for (const auto& [name, tensor] : head_weights(weight, bias)) head.emplace(name, tensor.to(at::kHalf));
  write_pytorch(files.model / "aesthetic-model.pth", head);
  say(fmt::format("aesthetic  held out: correlation {:.3f}", training.correlation()));
}

}  // namespace reno::shapes
