// FLUX.1 schnell (Black Forest Labs 2024): distilled to one to four steps without guidance (Sauer et al.
// 2024, arXiv:2403.12015).
#pragma once

#include <c10/core/GradMode.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "flux.hpp"
#include "reno/error.hpp"

namespace reno {

class FluxSchnell {
 public:
  struct Options {
    std::filesystem::path weights = "black-forest-labs/FLUX.1-schnell";
    std::string variant;
    std::int64_t height = 512, width = 512;

    void describe(auto& field) {
      field("weights", weights, "hub id or directory of the model, in diffusers' layout");
      field("variant", variant, Pretrained::variant_help);
      field("height", height, "of the image in pixels, a multiple of 16", bounds{1, 4096});
      field("width", width, "of the image in pixels, a multiple of 16", bounds{1, 4096});
    }
  };

  static constexpr PublishedRefinement published_refinement{.steps = 4, .guidance = 0.0, .by_base = false};

  struct Conditioning {
    Flux::PromptEmbeds embeds;
    std::vector<nn::FluxModulation> one_step;  ///< of the transformer's layers
  };

  FluxSchnell(const Options& options, const Context& context)
      : FluxSchnell(options, context, Pretrained(options.weights, options.variant, context)) {}

  std::vector<std::int64_t> noise_shape() const { return model_.noise_shape(); }

  Conditioning encode(const Prompts& prompts) const {
    const c10::NoGradGuard no_grad;
    auto embeds = model_.encode(prompts);
    auto one_step = model_.modulate(one_step_, embeds);
    return {std::move(embeds), std::move(one_step)};
  }

  at::Tensor generate(const at::Tensor& noise, const Conditioning& conditioning) const {
    return model_.sample(one_step_, conditioning.one_step, conditioning.embeds.text, noise);
  }

  /// The same model in several steps. Guidance, which it was distilled without, is ignored with a warning.
  at::Tensor refine(const at::Tensor& noise, const Conditioning& conditioning, std::int64_t steps,
                    double guidance) const {
    const c10::NoGradGuard no_grad;
    if (guidance > 1 && model_.log)
      model_.log->warn("flux-schnell has no guidance: the scale {} is ignored", guidance);
    const auto run = model_.scheduler.set_timesteps(steps);
    return model_.sample(run, model_.modulate(run, conditioning.embeds), conditioning.embeds.text, noise);
  }

 private:
  FluxSchnell(const Options& options, const Context& context, const Pretrained& files)
      : model_(load(options, context, files)), one_step_(model_.scheduler.set_timesteps(1)) {}

  /// The positions are embedded here; nothing of it is optimised.
  static Flux load(const Options& options, const Context& context, const Pretrained& files) {
    const c10::NoGradGuard no_grad;
    const FluxConfig config(files);
    return {files, config, grid_of(options, config), context};
  }

  static FluxGrid grid_of(const Options& options, const FluxConfig& config) {
    const auto multiple = config.patch_pixels();
    for (const auto& [name, pixels] :
         {std::pair("height", options.height), std::pair("width", options.width)})
      if (pixels % multiple != 0)
        throw ConfigurationError(fmt::format("{} = {} is not a multiple of {}", name, pixels, multiple));
    return {options.height / multiple, options.width / multiple};
  }

  Flux model_;
  schedulers::FlowMatchEulerSteps one_step_;
};

static_assert(RefiningGenerator<FluxSchnell>);

}  // namespace reno
