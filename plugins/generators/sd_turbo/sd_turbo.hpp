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

#include "reno/error.hpp"
#include "stable_diffusion.hpp"

namespace reno {

class SdTurbo {
 public:
  struct Options {
    std::filesystem::path weights = "stabilityai/sd-turbo";
    std::string variant;
    std::filesystem::path base;

    void describe(auto& field) {
      field("weights", weights, "hub id or directory of the model, in diffusers' layout");
      field(
          "variant", variant,
          "which weights files, for example fp16; empty: the plain ones, or the only variant that is there");
      field("base", base,
            "multi-step model that refines the optimised noise, for example "
            "stabilityai/stable-diffusion-2-1-base; "
            "empty: this model, in more steps");
    }
  };

  struct Conditioning {
    at::Tensor prompt_embeds;  ///< (N, tokens, width)
    Prompts prompts;           ///< for `base`, which has a text encoder of its own
  };

  SdTurbo(const Options& options, const Context& context)
      : options_(options),
        context_(context),
        model_(Pretrained(options.weights, options.variant, context), context),
        one_step_(prepare_one_step()) {
    if (!options.base.empty()) check_base();
  }

  std::vector<std::int64_t> noise_shape() const { return model_.config.noise_shape(); }

  Conditioning encode(const Prompts& prompts) const {
    const c10::NoGradGuard no_grad;
    return {model_.encode(prompts), prompts};
  }

  at::Tensor generate(const at::Tensor& noise, const Conditioning& conditioning) const {
    return model_.sample(one_step_, noise, conditioning.prompt_embeds);
  }

  /// Samples `base` in several steps; guidance is active above 1, away from the empty prompt.
  at::Tensor refine(const at::Tensor& noise, const Conditioning& conditioning, std::int64_t steps,
                    double guidance) {
    const c10::NoGradGuard no_grad;
    if (!options_.base.empty() && !base_) base_.emplace(base_files(), context_);
    const StableDiffusion& model = base_ ? *base_ : model_;
    const auto embeds = base_ ? base_->encode(conditioning.prompts) : conditioning.prompt_embeds;
    std::optional<StableDiffusion::Guidance> guide;
    if (guidance > 1) guide = {guidance, model.encode(Prompts{""})};
    return model.sample(model.prepare(steps), noise, embeds, guide);
  }

 private:
  StableDiffusion::Sampling prepare_one_step() const {
    const c10::NoGradGuard no_grad;
    return model_.prepare(1);
  }

  Pretrained base_files() const { return {options_.base, options_.variant, context_}; }

  /// The base is loaded when it is needed, after the optimisation, and takes no memory from it; but what is
  /// wrong with its files is said now. On the meta device nothing is read but names and shapes.
  void check_base() const {
    Context rehearsal = context_;
    rehearsal.device = c10::kMeta;
    rehearsal.log = nullptr;
    const Pretrained files(options_.base, options_.variant, rehearsal);
    const StableDiffusion base(files, rehearsal);
    if (base.config.noise_shape() != noise_shape())
      throw LoadError(fmt::format("{}: takes noise of shape {}, but {} takes {}", files.folder().string(),
                                  fmt::join(base.config.noise_shape(), "x"), options_.weights.string(),
                                  fmt::join(noise_shape(), "x")));
  }

  Options options_;
  Context context_;
  StableDiffusion model_;
  StableDiffusion::Sampling one_step_;
  std::optional<StableDiffusion> base_;
};

static_assert(RefiningGenerator<SdTurbo>);

}  // namespace reno
