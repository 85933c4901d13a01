// Trains the aesthetic predictor: a vision tower that starts from clip's, and a linear function of its
// embedding. Beautiful is here what is crisp, in the middle and rich in contrast, from 1 to 9.
#pragma once

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "shapes/train/clip_network.hpp"
#include "shapes/train/reward_lessons.hpp"
#include "shapes/train/training_loop.hpp"

namespace reno::shapes {

/// The label of a picture.
inline float beauty(const Picture& picture) {
  float weight = 1e-3F, x = 0, y = 0, present = 0;
  for (const auto& sight : picture.sights) {
    weight += sight.presence;
    x += sight.presence * sight.x;
    y += sight.presence * sight.y;
    present = std::max(present, sight.presence);
  }
  const float middle = static_cast<float>(image_size) / 2;
  const float centred = std::clamp(1 - std::hypot(x / weight - middle, y / weight - middle) / 18, 0.F, 1.F);
  const float contrast = std::clamp(picture.image.std().item<float>() / .25F, 0.F, 1.F);
  return 1 +
         8 * (.55F * picture.quality * (.3F + .7F * present) + present * (.22F * centred + .23F * contrast));
}

struct AestheticPlan {
  std::uint64_t seed = 0;
  int steps = 400;
  int groups = 18, taught = 8;

  std::string words() const {
    return fmt::format("aesthetic, seed {}, steps {} with {}+{} groups", seed, steps, groups, taught);
  }
};

class AestheticTraining {
 public:
  /// Starts from the averages in the checkpoint of the stage clip.
  AestheticTraining(const AestheticPlan& plan, const TrainingFiles& files, const std::filesystem::path& clip)
      : plan_(plan),
        files_(files),
        parameters_(stream_seed(plan.seed, 31)),
        // The text tower is not used; the vocabulary and the ids of start and end are any.
        network_(parameters_, clip_config_json(image_size, small_patch, 8, 6, 7)),
        beauty_head_(parameters_ / "heads" / "beauty", embedding_width, 1),
        optimizer_(started(clip), settings()) {}

  void run() {
    run_training(
        {"aesthetic", plan_.words(), plan_.steps}, files_, optimizer_,
        [this](std::int64_t step) { return learn(step); },
        [this] { return fmt::format("correlation {:.3f}", correlation()); });
  }

  /// Of the averaged network's predictions with the labels, on pictures that training does not show.
  double correlation() {
    const c10::NoGradGuard no_grad;
    Random random(stream_seed(plan_.seed, 32));
    const auto lesson = reward_lesson(40, 20, random);
    optimizer_.swap_averages();
    const auto predicted = predict(network_.see(lesson.images));
    optimizer_.swap_averages();
    return at::corrcoef(at::stack({predicted, labels(lesson)}))[0][1].item<double>();
  }

  /// The averaged vision tower under transformers' names, as ClipTraining::weights.
  TensorMap tower() const {
    TensorMap weights;
    for (const auto& [name, tensor] : below(optimizer_.averages(), "clip.")) {
      if (name.starts_with("text_") || name == "logit_scale") continue;
      const bool patches = name.ends_with("patch_embedding.weight");
      weights.emplace(name, (patches ? lifted(tensor) : tensor).to(at::kHalf));
    }
    return weights;
  }

  std::pair<at::Tensor, double> linear() const {
    const auto averages = optimizer_.averages();
    return {averages.at("heads.beauty.weight"), averages.at("heads.beauty.bias").item<double>()};
  }

 private:
  static OptimizerSettings settings() {
    OptimizerSettings settings;
    settings.lr = 1.5e-3;
    settings.muon_lr = .008;
    settings.clip = 2;
    settings.average = .98;
    settings.by_muon = [](const std::string& name) {
      return name.find("vision_model.encoder.layers.") != std::string::npos;
    };
    return settings;
  }

  const TensorMap& started(const std::filesystem::path& clip) const {
    const c10::NoGradGuard no_grad;
    const auto source = open_safetensors(clip);
    for (const auto& [name, tensor] : parameters_.tensors()) {
      const bool shared = name.find("vision_model.") != std::string::npos ||
                          name == "clip.visual_projection.weight" || name.starts_with("heads.patch") ||
                          name.starts_with("heads.picture");
      if (shared) tensor.copy_(source->read("average." + name));
    }
    beauty_head_.weight.mul_(8);  // of an embedding of length 1, for values from 1 to 9
    beauty_head_.bias.fill_(5);
    return parameters_.tensors();
  }

  at::Tensor predict(const SeenPictures& seen) const { return beauty_head_(seen.embedding).squeeze(1); }

  static at::Tensor labels(const RewardLesson& lesson) {
    std::vector<float> labels;
    for (const auto& picture : lesson.pictures) labels.push_back(beauty(picture));
    return at::tensor(labels);
  }

  std::string learn(std::int64_t step) {
    Random random(stream_seed(plan_.seed, 7'000'000 + static_cast<std::uint64_t>(step)));
    const auto lesson = reward_lesson(plan_.groups, plan_.taught, random);
    const auto seen = network_.see(lesson.images);
    const auto error = (predict(seen) - labels(lesson)).square().mean();
    (.5 * error + .5 * network_.dense(seen, DenseTargets(lesson.pictures))).backward();
    const double rate =
        Schedule{.warm_up = .05, .hold = .1, .floor = .03}(static_cast<double>(step) / plan_.steps);
    const double norm = optimizer_.step(rate);
    return fmt::format("squared error {:.3f}  gradient {:.2f}  rate {:.3f}", error.item<double>(), norm,
                       rate);
  }

  AestheticPlan plan_;
  TrainingFiles files_;
  Parameters parameters_;
  ClipNetwork network_;
  nn::Linear beauty_head_;
  Optimizer optimizer_;
};

}  // namespace reno::shapes
