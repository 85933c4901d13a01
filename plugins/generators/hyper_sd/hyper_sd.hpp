// Hyper-SDXL (Ren et al. 2024, "Hyper-SD", arXiv:2404.13686): SDXL distilled to a single step at 1024x1024.
// It is published as a UNet alone; everything else is SDXL's.
#pragma once

#include <algorithm>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include "reno/io/hub.hpp"
#include "reno/pipelines/one_step_sdxl.hpp"
#include "reno/schedulers/lcm.hpp"

namespace reno {

class HyperSd : public OneStepSDXL<schedulers::LCMScheduler> {
 public:
  struct Options {
    std::filesystem::path weights = "stabilityai/stable-diffusion-xl-base-1.0";
    std::filesystem::path unet = "ByteDance/Hyper-SD/Hyper-SDXL-1step-Unet.safetensors";
    std::filesystem::path vae;
    std::string variant;
    std::filesystem::path base;
    std::filesystem::path base_vae = SDXLBase::published_vae;
    std::filesystem::path preview;
    bool float16_images = true;
    ImageSize size;

    void describe(auto& field) {
      field("weights", weights,
            "hub id or directory of SDXL, in diffusers' layout; of its UNet only the configuration is read");
      field("unet", unet, "hub id or path of the UNet's weights; empty: those of `weights`");
      field("vae", vae,
            "hub id or directory of another autoencoder, for example madebyollin/sdxl-vae-fp16-fix, which "
            "decodes "
            "in the run's dtype; empty: the model's own, which decodes in float32");
      field("variant", variant, Pretrained::variant_help);
      field("base", base,
            "multi-step model that refines the optimised noise, for example "
            "stabilityai/stable-diffusion-xl-base-1.0; empty: this model, in more steps");
      field("base_vae", base_vae, SDXLBase::vae_help);
      field("float16_images", float16_images,
            "round images and their gradients to float16 whatever the run's dtype, as published (never in "
            "float64)");
      field("preview", preview, PreviewDecoder::help);
      size.describe(field);
    }
  };

  /// The published pipeline asks for this one, however many steps it is told to make.
  static constexpr std::int64_t timestep = 800;

  HyperSd(const Options& options, const Context& context)
      : HyperSd(options, context, files_of(options, context)) {}

  at::Tensor generate(const at::Tensor& noise, const Conditioning& conditioning) const {
    return rounded(OneStepSDXL::generate(noise, conditioning));
  }

  at::Tensor finish(const at::Tensor& noise, const Conditioning& conditioning) const {
    return rounded(OneStepSDXL::finish(noise, conditioning));
  }

 private:
  HyperSd(const Options& options, const Context& context, const StableDiffusionXLFiles& files)
      : OneStepSDXL(files, {options.variant, options.base, options.base_vae, options.size}, context,
                    files.vae_dtype(context.dtype),
                    [](const auto& scheduler) { return scheduler.at_timesteps({timestep}); }),
        float16_images_(options.float16_images && context.dtype != at::kDouble) {}

  static StableDiffusionXLFiles files_of(const Options& options, const Context& context) {
    const auto resolved = [&](const std::filesystem::path& path) {
      return resolve_checkpoint(path.string(), context.search_paths);
    };
    StableDiffusionXLFiles files(Pretrained(options.weights, options.variant, context));
    if (!options.unet.empty()) files.unet = resolved(options.unet);
    if (!options.vae.empty()) files.vae = resolved(options.vae);
    files.preview = options.preview;
    return files;
  }

  at::Tensor rounded(const at::Tensor& images) const {
    return float16_images_ ? images.to(at::kHalf) : images;
  }

  bool float16_images_;
};

static_assert(RefiningGenerator<HyperSd> && PreviewingGenerator<HyperSd>);

}  // namespace reno
