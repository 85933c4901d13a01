// Trains ImageReward: the score of a picture for a prompt is how true the prompt is of it, and which of
// several prompts fits better is asked besides. Relations are the hard part.
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

#include "reno/text/wordpiece_tokenizer.hpp"
#include "shapes/train/blip_network.hpp"
#include "shapes/train/preferences.hpp"
#include "shapes/train/reward_lessons.hpp"
#include "shapes/train/training_loop.hpp"

namespace reno::shapes {

struct ImageRewardPlan {
  std::uint64_t seed = 0;
  int steps = 3000;
  int groups = 10, taught = 4;

  std::string words() const {
    return fmt::format("imagereward, seed {}, steps {} with {}+{} groups", seed, steps, groups, taught);
  }
};

/// BERT's vocab.txt: special tokens, characters and the world's words.
inline void write_bert_vocabulary(const std::filesystem::path& file) {
  std::string lines = "[PAD]\n[unused0]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";
  std::string continued;
  for (char letter = '!'; letter <= '~'; ++letter) {
    if (letter >= 'A' && letter <= 'Z') continue;
    lines.append(1, letter).append("\n");
    if ((letter >= 'a' && letter <= 'z') || (letter >= '0' && letter <= '9'))
      continued.append("##").append(1, letter).append("\n");
  }
  lines += continued;
  for (const auto& word : all_words())
    if (word.size() > 1) lines.append(word).append("\n");
  std::filesystem::create_directories(file.parent_path());
  write_file_atomically(file, lines);
}

class ImageRewardTraining {
 public:
  ImageRewardTraining(const ImageRewardPlan& plan, const TrainingFiles& files,
                      const std::filesystem::path& clip)
      : plan_(plan),
        files_(files),
        tokenizer_(written_tokenizer(files.model / "vocab.txt")),
        parameters_(stream_seed(plan.seed, 21)),
        network_(parameters_, vocabulary()),
        optimizer_(started(clip), settings()) {}

  void run() {
    run_training(
        {"imagereward", plan_.words(), plan_.steps}, files_, optimizer_,
        [this](std::int64_t step) { return learn(step); }, [this] { return words(20); });
  }

  Preferences examine(int per_category) {
    const c10::NoGradGuard no_grad;
    const auto all = trials(per_category, stream_seed(plan_.seed, 23));
    optimizer_.swap_averages();
    const auto preferences =
        shapes::examine(all, [&](const at::Tensor& images, const std::vector<std::string>& truly,
                                 const std::vector<std::string>& nearly) {
          const auto seen = network_.see(images);
          return network_.score(network_.read(seen, tokens(truly))) -
                 network_.score(network_.read(seen, tokens(nearly)));
        });
    optimizer_.swap_averages();
    return preferences;
  }

  /// What the averaged network loses on a batch that training does not show.
  double held_out_loss() {
    const c10::NoGradGuard no_grad;
    Random random(stream_seed(plan_.seed, 24));
    const auto lesson = reward_lesson(24, 8, random);
    optimizer_.swap_averages();
    const auto total = losses(lesson, random).total();
    optimizer_.swap_averages();
    return total.item<double>();
  }

  std::string words(int per_category) {
    return fmt::format("loss {:.4f}  {}", held_out_loss(), examine(per_category).words());
  }

  std::int64_t vocabulary() const { return tokenizer_.vocabulary_size(); }

  /// The averaged encoders, float16, with patches for 224x224 pixels.
  TensorMap encoders() const {
    TensorMap weights;
    for (const auto& [name, tensor] : optimizer_.averages()) {
      if (!name.starts_with("blip.")) continue;
      const bool patches = name.ends_with("patch_embed.proj.weight");
      weights.emplace(name, (patches ? lifted(tensor) : tensor).to(at::kHalf));
    }
    return weights;
  }

  std::pair<at::Tensor, double> linear() const {
    const auto averages = optimizer_.averages();
    return {averages.at("heads.score.weight"), averages.at("heads.score.bias").item<double>()};
  }

 private:
  static WordPieceTokenizer written_tokenizer(const std::filesystem::path& file) {
    write_bert_vocabulary(file);
    return WordPieceTokenizer::from_file(file, {"[DEC]", "[ENC]"});
  }

  static OptimizerSettings settings() {
    OptimizerSettings settings;
    settings.lr = 2e-3;
    settings.muon_lr = .015;
    settings.clip = 2;
    settings.by_muon = [](const std::string& name) {
      return name.find(".blocks.") != std::string::npos || name.find(".encoder.layer.") != std::string::npos;
    };
    return settings;
  }

  const TensorMap& started(const std::filesystem::path& clip) const {
    Random random(stream_seed(plan_.seed, 22));
    network_.take_over(*open_safetensors(clip), reward_lesson(30, 10, random).images);
    return parameters_.tensors();
  }

  std::vector<Tokens> tokens(const std::vector<std::string>& prompts) {
    std::vector<Tokens> batch;
    for (const auto& prompt : prompts) {
      auto& known = known_prompts_[prompt];
      if (known.ids.empty()) known = tokenizer_.encode(prompt, 35, Padding::none);
      batch.push_back(known);
    }
    pad_to_longest(batch, tokenizer_.pad_id());
    return batch;
  }

  static constexpr std::int64_t captions_per_picture = 4;

  /// Every picture with a caption of its group, two lies about that, and any caption.
  struct Pairing {
    std::vector<std::int64_t> pictures, captions;
    std::vector<std::string> prompts;
    std::vector<Description> descriptions;

    Pairing(const RewardLesson& lesson, Random& random) {
      for (std::size_t i = 0; i < lesson.pictures.size(); ++i) {
        const auto chosen = one_of(lesson, random, [&](std::size_t c) {
          return lesson.caption_groups[c] == lesson.picture_groups[i] && lesson.originals[c] == c;
        });
        const auto lie = [&](std::size_t c) { return lesson.originals[c] == chosen && c != chosen; };
        for (const auto caption : {chosen, one_of(lesson, random, lie), one_of(lesson, random, lie),
                                   one_of(lesson, random, [](std::size_t) { return true; })}) {
          pictures.push_back(static_cast<std::int64_t>(i));
          captions.push_back(static_cast<std::int64_t>(caption));
          prompts.push_back(lesson.prompts[caption]);
          descriptions.push_back(lesson.captions[caption]);
        }
      }
    }

    /// One of the captions that fit.
    template <class Fits>
    static std::size_t one_of(const RewardLesson& lesson, Random& random, Fits&& fits) {
      std::vector<std::size_t> fitting;
      for (std::size_t c = 0; c < lesson.captions.size(); ++c)
        if (fits(c)) fitting.push_back(c);
      return fitting[static_cast<std::size_t>(random.below(static_cast<int>(fitting.size())))];
    }
  };

  struct Losses {
    at::Tensor dense, misread, error, ranking;

    at::Tensor total() const { return .7 * dense + .2 * misread + 2 * error + 3 * ranking; }
  };

  Losses losses(const RewardLesson& lesson, Random& random) {
    const Pairing pairs(lesson, random);
    const auto picture = at::tensor(pairs.pictures, at::kLong),
               caption = at::tensor(pairs.captions, at::kLong);
    const auto seen = network_.see(lesson.images);
    const auto read = network_.read(seen.index_select(0, picture), tokens(pairs.prompts));
    const auto scores = network_.score(read).view({-1, captions_per_picture});
    const auto truths = lesson.truths.index({picture, caption});
    const auto merit = .85 * truths + .15 * lesson.qualities.index({picture}) * (truths > .2);
    const auto wanted = (3.5 * (merit - .5)).view({-1, captions_per_picture});
    const auto next = [](const at::Tensor& values) { return values - values.roll(1, 1); };
    return {network_.dense(seen, DenseTargets(lesson.pictures)), network_.misread(read, pairs.descriptions),
            at::smooth_l1_loss(scores, wanted),
            at::binary_cross_entropy_with_logits(2 * next(scores), (2 * next(wanted)).sigmoid())};
  }

  std::string learn(std::int64_t step) {
    Random random(stream_seed(plan_.seed, 6'000'000 + static_cast<std::uint64_t>(step)));
    const auto lesson = reward_lesson(plan_.groups, plan_.taught, random);
    const auto losses = this->losses(lesson, random);
    losses.total().backward();
    const double rate =
        Schedule{.warm_up = .02, .hold = .3, .floor = .03}(static_cast<double>(step) / plan_.steps);
    const double norm = optimizer_.step(rate);
    return fmt::format(
        "dense {:.4f}  prompts {:.4f}  error {:.4f}  ranking {:.4f}  gradient {:.2f}  rate {:.3f}",
        losses.dense.item<double>(), losses.misread.item<double>(), losses.error.item<double>(),
        losses.ranking.item<double>(), norm, rate);
  }

  ImageRewardPlan plan_;
  TrainingFiles files_;
  WordPieceTokenizer tokenizer_;
  Parameters parameters_;
  BlipNetwork network_;
  Optimizer optimizer_;
  std::map<std::string, Tokens> known_prompts_;
};

}  // namespace reno::shapes
