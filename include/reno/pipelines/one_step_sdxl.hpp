// A one-step generator of SDXL's architecture: what SDXL-Turbo and Hyper-SD have in common.
#pragma once

#include <c10/core/GradMode.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "reno/io/hub.hpp"
#include "reno/pipelines/refinement_base.hpp"
#include "reno/pipelines/stable_diffusion_xl.hpp"
#include "reno/schedulers/euler_discrete.hpp"
#include "reno/schedulers/sampler_noise.hpp"

namespace reno {

/// The model that refines: SDXL itself, sampled by Euler's method.
struct SDXLBase : StableDiffusionXL {
  static constexpr const char* published_vae = "madebyollin/sdxl-vae-fp16-fix";
  static constexpr const char* vae_help =
      "hub id or directory of the autoencoder of `base`, whose default is the published one; empty: its own, "
      "which decodes in float32 at least";

  schedulers::EulerDiscreteScheduler scheduler;

  explicit SDXLBase(const StableDiffusionXLFiles& files, const Context& context)
      : StableDiffusionXL(files, context, files.vae_dtype(context.dtype)),
        scheduler(files.model.config("scheduler", "scheduler_config.json")) {}

  /// `vae` as a user writes it; empty: the model's own.
  static auto with_vae(const std::filesystem::path& vae) {
    return [vae](const Pretrained& model, const Context& context) {
      StableDiffusionXLFiles files(model);
      if (!vae.empty()) files.vae = resolve_checkpoint(vae.string(), context.search_paths);
      return SDXLBase(files, context);
    };
  }
};

/// `Scheduler` is the sampler that reads the model's scheduler_config.json, which may be stored under
/// another's name.
template <class Scheduler>
class OneStepSDXL {
 public:
  /// By SDXL.
  static constexpr PublishedRefinement published_refinement{.steps = 50, .guidance = 5.0, .by_base = true};

  struct Conditioning {
    StableDiffusionXL::PromptEmbeds embeds;
    StableDiffusionXL::Conditions one_step;
    Prompts prompts;  ///< for the base model, which has text encoders of its own
  };

  std::vector<std::int64_t> noise_shape() const { return noise_shape_; }

  Conditioning encode(const Prompts& prompts) const {
    const c10::NoGradGuard no_grad;
    const auto embeds = model_.encode(prompts);
    return {embeds, model_.condition(one_step_.timesteps, embeds), prompts};
  }

  at::Tensor generate(const at::Tensor& noise, const Conditioning& conditioning) const {
    return model_.generate(one_step_, conditioning.one_step, noise, {},
                           previews() ? Decoder::preview : Decoder::own);
  }

  bool previews() const { return static_cast<bool>(model_.preview); }

  at::Tensor finish(const at::Tensor& noise, const Conditioning& conditioning) const {
    const c10::NoGradGuard no_grad;
    return model_.generate(one_step_, conditioning.one_step, noise);
  }

  /// Samples the base model in several steps, or this one where there is none.
  at::Tensor refine(const at::Tensor& noise, const Conditioning& conditioning, std::int64_t steps,
                    double guidance) {
    const c10::NoGradGuard no_grad;
    if (!base_) return sample(model_, scheduler_, noise, conditioning.embeds, steps, guidance);
    const auto& base = *base_;
    return sample(base, base.scheduler, noise, base.encode(conditioning.prompts), steps, guidance);
  }

 protected:
  using Steps = decltype(std::declval<const Scheduler&>().set_timesteps(1));

  /// What a user can choose of every such generator.
  struct Choices {
    std::string variant;
    std::filesystem::path base;
    std::filesystem::path base_vae;
    ImageSize size;
  };

  /// `one_step` makes the steps of `generate` from the scheduler.
  template <class OneStep>
  OneStepSDXL(const StableDiffusionXLFiles& files, const Choices& choices, const Context& context,
              std::optional<at::ScalarType> decoder_dtype, OneStep&& one_step)
      : seed_(context.seed),
        scheduler_(files.model.config("scheduler", "scheduler_config.json")),
        one_step_(one_step(scheduler_)),
        model_(files, context, decoder_dtype),
        noise_shape_(model_.config.noise_shape(choices.size)),
        base_(choices.base, choices.variant, context, noise_shape_.front(),
              SDXLBase::with_vae(choices.base_vae)) {}

 private:
  template <class AnyScheduler>
  at::Tensor sample(const StableDiffusionXL& model, const AnyScheduler& scheduler, const at::Tensor& noise,
                    const StableDiffusionXL::PromptEmbeds& embeds, std::int64_t count,
                    double guidance) const {
    const auto steps = scheduler.set_timesteps(count);
    return model.generate(steps, model.condition(steps.timesteps, embeds, guidance), noise,
                          schedulers::SamplerNoise(seed_));
  }

  std::uint64_t seed_;
  Scheduler scheduler_;
  Steps one_step_;
  StableDiffusionXL model_;
  std::vector<std::int64_t> noise_shape_;
  RefinementBase<SDXLBase> base_;
};

}  // namespace reno
