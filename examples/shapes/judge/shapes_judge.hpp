// The judge of the shapes world as a reward that is only watched (weight 0): it tells, iteration by
// iteration, whether the pictures really become what the prompts say while the rewards rise.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <string>
#include <vector>

#include "reno/concepts.hpp"
#include "reno/context.hpp"
#include "reno/options.hpp"
#include "shapes/judge/metadata.hpp"
#include "shapes/world/judge.hpp"

namespace reno::shapes {

class ShapesJudge {
 public:
  struct Options {
    std::string verdict = "correct";

    void describe(auto& field) {
      field("verdict", verdict,
            "correct: 1 if all that the prompt asks for is there, else 0; strict: and nothing else; partial: "
            "the fraction that is there",
            choices{{"correct", "strict", "partial"}});
    }
  };
  struct PromptFeatures {
    std::vector<Description> wanted;
  };
  static constexpr double ceiling = 1.0;
  static constexpr double default_weight = 0.0;
  static constexpr bool differentiable = false;

  ShapesJudge(const Options& options, const Context& context)
      : verdict_(options.verdict), dtype_(context.master_dtype()) {}

  /// Throws ConfigurationError for a prompt that is not of the shapes world.
  PromptFeatures encode(const Prompts& prompts) const {
    PromptFeatures features;
    for (const auto& prompt : prompts) features.wanted.push_back(from_prompt(prompt, "shapes-judge"));
    return features;
  }

  /// The pixels as they are.
  Preprocess preprocess() const { return {.size = image_size, .mean = {0, 0, 0}, .std = {1, 1, 1}}; }

  at::Tensor score(const at::Tensor& pixels, const PromptFeatures& prompts) const {
    auto scores = at::empty({pixels.size(0)}, dtype_);
    if (pixels.is_meta()) return scores.to(pixels.device());
    const auto images = pixels.detach().to(at::kCPU);
    for (std::int64_t i = 0; i < images.size(0); ++i) {
      const auto verdict = judge(images[i], prompts.wanted[static_cast<std::size_t>(i)]);
      scores[i] = verdict_ == "partial"  ? verdict.partial
                  : verdict_ == "strict" ? verdict.strict
                                         : verdict.correct;
    }
    return scores.to(pixels.device());
  }

 private:
  std::string verdict_;
  at::ScalarType dtype_;
};

}  // namespace reno::shapes
