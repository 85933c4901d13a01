// SD-Turbo (Sauer et al. 2023, "Adversarial Diffusion Distillation", arXiv:2311.17042): Stable Diffusion 2.1
// distilled to a single step. Any Stable Diffusion model in diffusers' layout whose scheduler_config.json
// makes sense for one Euler step runs here.
#pragma once

#include <c10/core/GradMode.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "reno/pipelines/refinement_base.hpp"
#include "reno/pipelines/stable_diffusion.hpp"

namespace reno {

class SdTurbo {
 public:
  struct Options {
    std::filesystem::path weights = "stabilityai/sd-turbo";
    std::string variant;
    std::filesystem::path base;
    std::filesystem::path preview;
    ImageSize size;

    void describe(auto& field) {
      field("weights", weights, "hub id or directory of the model, in diffusers' layout");
      field("variant", variant, Pretrained::variant_help);
      field("base", base,
            "multi-step model that refines the optimised noise, for example "
            "stabilityai/stable-diffusion-2-1-base; "
            "empty: this model, in more steps");
      field("preview", preview, PreviewDecoder::help);
      size.describe(field);
    }
  };

  /// By Stable Diffusion 2.1.
  static constexpr PublishedRefinement published_refinement{.steps = 50, .guidance = 7.5, .by_base = true};

  struct Conditioning {
    at::Tensor prompt_embeds;  ///< (N, tokens, width)
    Prompts prompts;           ///< for `base`, which has a text encoder of its own
  };

  SdTurbo(const Options& options, const Context& context)
      : model_(Pretrained(options.weights, options.variant, context), context, options.preview),
        noise_shape_(model_.config.noise_shape(options.size)),
        one_step_(prepare_one_step()),
        base_(
            options.base, options.variant, context, noise_shape_.front(),
            [](const Pretrained& model, const Context& context) { return StableDiffusion(model, context); }) {
  }

  std::vector<std::int64_t> noise_shape() const { return noise_shape_; }

  Conditioning encode(const Prompts& prompts) const {
    const c10::NoGradGuard no_grad;
    return {model_.encode(prompts), prompts};
  }

  at::Tensor generate(const at::Tensor& noise, const Conditioning& conditioning) const {
    return model_.sample(one_step_, noise, conditioning.prompt_embeds, {},
                         previews() ? Decoder::preview : Decoder::own);
  }

  bool previews() const { return static_cast<bool>(model_.preview); }

  at::Tensor finish(const at::Tensor& noise, const Conditioning& conditioning) const {
    const c10::NoGradGuard no_grad;
    return model_.sample(one_step_, noise, conditioning.prompt_embeds);
  }

  /// Samples `base` in several steps; guidance is active above 1, away from the empty prompt.
  at::Tensor refine(const at::Tensor& noise, const Conditioning& conditioning, std::int64_t steps,
                    double guidance) {
    const c10::NoGradGuard no_grad;
    const StableDiffusion& model = base_ ? *base_ : model_;
    const auto embeds = base_ ? model.encode(conditioning.prompts) : conditioning.prompt_embeds;
    std::optional<StableDiffusion::Guidance> guide;
    if (guidance > 1) guide = {guidance, model.encode(Prompts{""})};
    return model.sample(model.prepare(steps), noise, embeds, guide);
  }

 private:
  StableDiffusion::Sampling prepare_one_step() const {
    const c10::NoGradGuard no_grad;
    return model_.prepare(1);
  }

  StableDiffusion model_;
  std::vector<std::int64_t> noise_shape_;
  StableDiffusion::Sampling one_step_;
  RefinementBase<StableDiffusion> base_;
};

static_assert(RefiningGenerator<SdTurbo> && PreviewingGenerator<SdTurbo>);

}  // namespace reno
