// CLIPScore (Hessel et al. 2021, arXiv:2104.08718): how well CLIP says that an image fits its prompt. ReNO
// uses CLIP ViT-H/14 trained on LAION-2B, whose factor is 100: score = 100 cos(image, prompt).
#pragma once

#include "reno/nn/clip_files.hpp"
#include "reno/nn/clip_similarity.hpp"

namespace reno {

struct ClipScore : nn::ClipSimilarity {
  struct Options : nn::ClipFiles {
    Options() : nn::ClipFiles{.weights = published, .tokenizer = {}, .variant = ""} {}
  };
  static constexpr double ceiling = 100.0;
  static constexpr double default_weight = 0.01;
  static constexpr const char* published = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K";

  ClipScore(const Options& options, const Context& context)
      : ClipSimilarity(nn::open_clip_model("clip-score", options, context, published), context) {}
};

}  // namespace reno
