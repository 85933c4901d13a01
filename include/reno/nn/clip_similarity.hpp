// What the rewards of CLIP's architecture have in common: score_i = s · cos(image_i, prompt_i), the cosine of
// the two embeddings times the model's own factor s = exp(logit_scale), or 1 where it is published without.
// (CLIPScore: Hessel et al. 2021; PickScore: Kirstain et al. 2023; HPSv2: Wu et al. 2023.)
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/sum.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "reno/concepts.hpp"
#include "reno/context.hpp"
#include "reno/image/preprocess.hpp"
#include "reno/io/unused.hpp"
#include "reno/nn/clip.hpp"
#include "reno/nn/normalize.hpp"
#include "reno/nn/offload.hpp"
#include "reno/text/clip_tokenizer.hpp"
#include "reno/text/shortened.hpp"

namespace reno::nn {

/// All but name, ceiling and weight of a reward.
class ClipSimilarity {
 public:
  struct PromptFeatures {
    at::Tensor embeddings;  ///< (N, projection_dim), of length 1, in the run's master dtype
  };

  /// What differs between the published models.
  struct Parts {
    std::string name;  ///< of the reward, for messages
    std::shared_ptr<const TensorSource> source;
    CLIPConfig config;
    ClipTokenizer tokenizer;
    bool scaled = true;  ///< whether the cosine is multiplied by exp(logit_scale)
  };

  ClipSimilarity(Parts parts, const Context& context)
      : name_(std::move(parts.name)),
        tokenizer_(std::move(parts.tokenizer)),
        text_(parts.source, context, Visits::once_per_prompt),
        vision_(parts.source, context, Visits::every_iteration),
        model_(text_.weights(), vision_.weights(), parts.config),
        image_size_(parts.config.vision_config.image_size),
        dtype_(context.dtype),
        master_dtype_(context.master_dtype()),
        scaled_(parts.scaled),
        log_(context.log) {
    log_unused({text_.weights(), vision_.weights()}, name_, *log_);
  }

  /// Cuts a prompt to what the text encoder reads, with a warning.
  PromptFeatures encode(const Prompts& prompts) const {
    const at::NoGradGuard no_grad;
    std::vector<Tokens> batch;
    for (const auto& prompt : prompts) {
      batch.push_back(tokenizer_.encode(prompt, Padding::none));
      if (batch.back().truncated())
        log_->warn("{}: the text encoder reads {} tokens; the last {} of this prompt are cut off: {}", name_,
                   tokenizer_.max_length() - 2, batch.back().dropped, shortened(prompt));
    }
    pad_to_longest(batch, tokenizer_.end_id());  // behind the end, where it changes nothing
    TokenIds ids;
    for (auto& tokens : batch) ids.push_back(std::move(tokens.ids));
    return {text_.during([&] { return normalize(model_.get_text_features(ids).to(master_dtype_)); })};
  }

  Preprocess preprocess() const { return {.size = image_size_}; }

  /// pixels (N, 3, size, size) of any floating dtype -> (N) in the run's master dtype: the sum over the
  /// embedding is taken there, since half precision has only 3 digits for scores near 100.
  at::Tensor score(const at::Tensor& pixels, const PromptFeatures& prompts) const {
    return vision_.keeping_graph(pixels, [&](const at::Tensor& x) {
      const auto images = normalize(model_.get_image_features(x.to(dtype_)).to(master_dtype_));
      const auto cosine = (images * prompts.embeddings).sum(-1);
      return scaled_ ? cosine * model_.logit_scale.exp() : cosine;
    });
  }

 private:
  std::string name_;
  ClipTokenizer tokenizer_;
  Offload text_, vision_;
  CLIPModel model_;
  std::int64_t image_size_;
  at::ScalarType dtype_;
  at::ScalarType master_dtype_;
  bool scaled_;
  std::shared_ptr<spdlog::logger> log_;
};

}  // namespace reno::nn
