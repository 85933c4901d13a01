// SDXL-Turbo (Sauer et al. 2023, "Adversarial Diffusion Distillation", arXiv:2311.17042): SDXL distilled to a
// single step at 512x512.
#pragma once

#include <filesystem>
#include <string>
#include <utility>

#include "reno/io/hub.hpp"
#include "reno/pipelines/one_step_sdxl.hpp"
#include "reno/schedulers/euler_ancestral_discrete.hpp"

namespace reno {

class SdxlTurbo : public OneStepSDXL<schedulers::EulerAncestralDiscreteScheduler> {
 public:
  struct Options {
    std::filesystem::path weights = "stabilityai/sdxl-turbo";
    std::filesystem::path vae = "madebyollin/sdxl-vae-fp16-fix";
    std::string variant;
    std::filesystem::path base;
    std::filesystem::path base_vae = SDXLBase::published_vae;
    std::filesystem::path preview;
    ImageSize size;

    void describe(auto& field) {
      field("weights", weights, "hub id or directory of the model, in diffusers' layout");
      field("vae", vae,
            "hub id or directory of the autoencoder, whose default is one that float16 does not overflow; "
            "empty: the model's own, which decodes in float32");
      field("variant", variant, Pretrained::variant_help);
      field("base", base,
            "multi-step model that refines the optimised noise, for example "
            "stabilityai/stable-diffusion-xl-base-1.0; empty: this model, in more steps");
      field("base_vae", base_vae, SDXLBase::vae_help);
      field("preview", preview, PreviewDecoder::help);
      size.describe(field);
    }
  };

  SdxlTurbo(const Options& options, const Context& context)
      : SdxlTurbo(options, context, files_of(options, context)) {}

 private:
  SdxlTurbo(const Options& options, const Context& context, const StableDiffusionXLFiles& files)
      : OneStepSDXL(files, {options.variant, options.base, options.base_vae, options.size}, context,
                    files.vae_dtype(context.dtype),
                    [](const auto& scheduler) { return scheduler.set_timesteps(1); }) {}

  static StableDiffusionXLFiles files_of(const Options& options, const Context& context) {
    StableDiffusionXLFiles files(Pretrained(options.weights, options.variant, context));
    if (!options.vae.empty()) files.vae = resolve_checkpoint(options.vae.string(), context.search_paths);
    files.preview = options.preview;
    return files;
  }
};

static_assert(RefiningGenerator<SdxlTurbo> && PreviewingGenerator<SdxlTurbo>);

}  // namespace reno
