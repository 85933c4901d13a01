// PickScore (Kirstain et al. 2023, arXiv:2305.01569): CLIP ViT-H/14 fine-tuned on which of two images people
// picked for a prompt. score = s · cos(image, prompt), around 18 to 24 for generated images.
#pragma once

#include "reno/nn/clip_files.hpp"
#include "reno/nn/clip_similarity.hpp"

namespace reno {

struct PickScore : nn::ClipSimilarity {
  struct Options : nn::ClipFiles {
    Options() : nn::ClipFiles{.weights = "yuvalkirstain/PickScore_v1", .tokenizer = {}, .variant = ""} {}
  };
  static constexpr double ceiling = 30.0;
  static constexpr double default_weight = 0.05;

  PickScore(const Options& options, const Context& context)
      : ClipSimilarity(
            nn::open_clip_model("pickscore", options, context, "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"),
            context) {}
};

}  // namespace reno
