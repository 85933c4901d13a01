// Trains the rewards of CLIP's architecture (CLIPScore, PickScore, HPSv2): dense supervision of pictures and
// prompts first, then captions against pictures with graded truths, then, for those that people's choices
// made, comparisons of pictures. They share a vision tower: later ones start from the first.
#pragma once

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "reno/text/clip_tokenizer.hpp"
#include "reno/text/tokens.hpp"
#include "shapes/train/clip_network.hpp"
#include "shapes/train/preferences.hpp"
#include "shapes/train/reward_lessons.hpp"
#include "shapes/train/tokenizer_files.hpp"
#include "shapes/train/training_loop.hpp"

namespace reno::shapes {

struct ClipPlan {
  std::string name;
  std::uint64_t seed = 0;
  int steps = 4000;
  int groups = 18, taught = 6;  ///< of a batch
  double dense_only = .1;       ///< fraction of the steps without captions
  double lr = 3e-3, muon_lr = .025;
  double preference = .2;  ///< weight of comparisons of pictures
  double by_picture =
      1;  ///< weight of finding the caption of a picture, against 1.5 for the picture of a caption
  double quality = 0;       ///< share of the picture's quality in what is true
  bool fresh_text = false;  ///< after another reward: only the vision tower is taken over

  ClipPlan scaled(double factor) const {
    ClipPlan plan = *this;
    plan.steps = std::max(1, static_cast<int>(std::lround(factor * steps)));
    return plan;
  }
  ClipPlan tiny() const {
    ClipPlan plan = *this;
    plan.steps = 60;
    plan.groups = 6;
    plan.taught = 2;
    return plan;
  }
  std::string words() const {
    return fmt::format("{}, seed {}, steps {} with {}+{} groups", name, seed, steps, groups, taught);
  }
};

/// Cross-entropy against softmax(12 · truth) over a dimension.
inline at::Tensor graded_cross_entropy(const at::Tensor& logits, const at::Tensor& truths,
                                       std::int64_t dimension) {
  return -(at::softmax(12 * truths, dimension) * at::log_softmax(logits, dimension)).sum(dimension).mean();
}

class ClipTraining {
 public:
  /// `files.model` gets a tokenizer at once.
  ClipTraining(const ClipPlan& plan, const TrainingFiles& files)
      : plan_(plan),
        files_(files),
        tokenizer_(written_tokenizer(files.model)),
        parameters_(stream_seed(plan.seed, 11)),
        network_(parameters_, config(image_size, small_patch)),
        optimizer_(structured(), settings(plan)) {}

  /// Begins with the averages of another training.
  void start_from(const std::filesystem::path& checkpoint) {
    const c10::NoGradGuard no_grad;
    const auto source = open_safetensors(checkpoint);
    auto state = optimizer_.state();
    for (const auto& [name, tensor] : parameters_.tensors()) {
      const bool sees = name.find("vision_model.") != std::string::npos || name.starts_with("heads.patch.") ||
                        name.starts_with("heads.picture.");
      if (plan_.fresh_text && !sees) continue;
      tensor.copy_(source->read("average." + name));
      state.at("average." + name).copy_(tensor);
    }
  }

  void run() {
    run_training(
        {plan_.name, plan_.words(), plan_.steps}, files_, optimizer_,
        [this](std::int64_t step) { return learn(step); }, [this] { return words(20); });
  }

  /// The averaged network on held-out trials.
  Preferences examine(int per_category) {
    const c10::NoGradGuard no_grad;
    const auto all = trials(per_category, stream_seed(plan_.seed, 13));
    optimizer_.swap_averages();
    const auto preferences =
        shapes::examine(all, [&](const at::Tensor& images, const std::vector<std::string>& truly,
                                 const std::vector<std::string>& nearly) {
          return (network_.see(images).embedding *
                  (network_.read(tokens(truly)).embedding - network_.read(tokens(nearly)).embedding))
              .sum(1);
        });
    optimizer_.swap_averages();
    return preferences;
  }

  /// What the averaged network loses on a batch that training does not show.
  double held_out_loss() {
    const c10::NoGradGuard no_grad;
    Random random(stream_seed(plan_.seed, 14));
    const auto lesson = reward_lesson(24, 8, random);
    optimizer_.swap_averages();
    const auto seen = network_.see(lesson.images);
    const auto read = network_.read(tokens(lesson.prompts));
    const auto loss =
        network_.dense(seen, DenseTargets(lesson.pictures)) + caption_loss(lesson, seen, read).first;
    optimizer_.swap_averages();
    return loss.item<double>();
  }

  std::string words(int per_category) {
    return fmt::format("loss {:.4f}  {}", held_out_loss(), examine(per_category).words());
  }

  /// The averaged weights under transformers' names, float16, with patches for 224x224 pixels.
  TensorMap weights() const {
    const c10::NoGradGuard no_grad;
    TensorMap weights;
    for (const auto& [name, tensor] : below(optimizer_.averages(), "clip.")) {
      const bool patches = name.ends_with("patch_embedding.weight");
      weights.emplace(name, (patches ? lifted(tensor) : tensor).to(at::kHalf));
    }
    return weights;
  }

  nlohmann::ordered_json config(std::int64_t image, std::int64_t patch) const {
    return clip_config_json(image, patch, tokenizer_.vocabulary_size(), tokenizer_.start_id(),
                            tokenizer_.end_id());
  }

  const ClipNetwork& network() const { return network_; }

 private:
  static ClipTokenizer written_tokenizer(const std::filesystem::path& folder) {
    write_clip_tokenizer(folder, text_positions);
    return ClipTokenizer::from_directory(folder, ClipTextStyle::transformers_fast);
  }

  static OptimizerSettings settings(const ClipPlan& plan) {
    OptimizerSettings settings;
    settings.lr = plan.lr;
    settings.muon_lr = plan.muon_lr;
    settings.clip = 2;
    settings.by_muon = [](const std::string& name) {
      return name.find(".encoder.layers.") != std::string::npos;
    };
    return settings;
  }

  /// The parameters, when the vision tower has its structure.
  const TensorMap& structured() const {
    Random random(stream_seed(plan_.seed, 12));
    network_.structure(reward_lesson(60, 20, random).images);
    return parameters_.tensors();
  }

  nn::TokenIds tokens(const std::vector<std::string>& prompts) {
    std::vector<Tokens> batch;
    for (const auto& prompt : prompts) {
      auto& known = known_prompts_[prompt];
      if (known.ids.empty()) known = tokenizer_.encode(prompt, Padding::none);
      batch.push_back(known);
    }
    pad_to_longest(batch, tokenizer_.end_id());
    nn::TokenIds ids;
    for (auto& each : batch) ids.push_back(std::move(each.ids));
    return ids;
  }

  std::string learn(std::int64_t step) {
    Random random(stream_seed(plan_.seed, 5'000'000 + static_cast<std::uint64_t>(step)));
    const double progress = static_cast<double>(step) / plan_.steps;
    const auto lesson = reward_lesson(plan_.groups, plan_.taught, random);
    const auto seen = network_.see(lesson.images);
    const auto read = network_.read(tokens(lesson.prompts));
    auto loss = network_.dense(seen, DenseTargets(lesson.pictures));
    const auto misread = network_.misread(read, lesson.captions);
    auto words = fmt::format("dense {:.4f}  prompts {:.4f}", loss.item<double>(), misread.item<double>());
    loss = loss + .3 * misread;
    if (progress >= plan_.dense_only) {
      const auto [matching, right] = caption_loss(lesson, seen, read);
      words += fmt::format("  captions {:.4f}  pairs right {:.3f}", matching.item<double>(), right);
      loss = loss + matching;
    }
    loss.backward();
    const double rate = Schedule{.warm_up = .015, .hold = .25, .floor = .03}(progress);
    const double norm = optimizer_.step(rate);
    return fmt::format("{}  gradient {:.2f}  rate {:.3f}", words, norm, rate);
  }

  /// The loss, and the fraction of clear comparisons that are right.
  std::pair<at::Tensor, double> caption_loss(const RewardLesson& lesson, const SeenPictures& seen,
                                             const ReadPrompts& read) {
    const auto truths = (1 - plan_.quality) * lesson.truths + plan_.quality * lesson.qualities.unsqueeze(1);
    const auto factor = network_.model.logit_scale.clamp_max(std::log(100.)).exp();
    const auto logits = factor * seen.embedding.mm(read.embedding.t());
    const Comparisons comparisons(lesson);
    const auto wanted = comparisons.differences(truths), got = comparisons.differences(logits);
    const auto preferred = at::binary_cross_entropy_with_logits(got, (10 * wanted).sigmoid());
    const auto clear = wanted.abs() > .1;
    const auto right = (got.gt(0) == wanted.gt(0)).masked_select(clear).to(at::kFloat).mean().item<double>();
    return {plan_.by_picture * graded_cross_entropy(logits, truths, 1) +
                1.5 * graded_cross_entropy(logits, truths, 0) + plan_.preference * preferred,
            right};
  }

  ClipPlan plan_;
  TrainingFiles files_;
  ClipTokenizer tokenizer_;
  Parameters parameters_;
  ClipNetwork network_;
  Optimizer optimizer_;
  std::map<std::string, Tokens> known_prompts_;
};

}  // namespace reno::shapes
