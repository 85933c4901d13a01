// PixArt-α DMD: a small transformer (0.6 billion parameters) with a large text encoder, in one step.
#pragma once

#include <c10/core/GradMode.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "pixart_alpha.hpp"
#include "reno/error.hpp"
#include "reno/pipelines/image_size.hpp"

namespace reno {

class PixArt {
 public:
  struct Options {
    std::filesystem::path weights = "PixArt-alpha/PixArt-XL-2-1024-MS";
    std::string variant;
    std::filesystem::path dmd = "PixArt-alpha/PixArt-Alpha-DMD-XL-2-512x512";
    ImageSize size;
    bool binning = true;

    void describe(auto& field) {
      field("weights", weights,
            "hub id or directory of a PixArt-α pipeline, in diffusers' layout: its text encoder and VAE");
      field(
          "variant", variant,
          "which weights files of the pipeline, for example fp16; empty: the plain ones, or the only variant "
          "that is there");
      field("dmd", dmd, "hub id or directory with the distilled transformer/ and scheduler/");
      size.describe(field);
      field("binning", binning,
            "generate the most similar shape that the model was trained on, then resize and crop");
    }
  };

  using Conditioning = nn::PixArtPrompt;

  PixArt(const Options& options, const Context& context)
      : PixArt(options, context, {{options.weights, options.variant, context}, {options.dmd, "", context}}) {}

  std::vector<std::int64_t> noise_shape() const { return model_.noise_shape(); }

  Conditioning encode(const Prompts& prompts) const {
    const c10::NoGradGuard no_grad;
    return model_.encode(prompts);
  }

  at::Tensor generate(const at::Tensor& noise, const Conditioning& conditioning) const {
    const auto decoded = model_.sample(noise.to(conditioning.caption.scalar_type()), conditioning);
    return nn::to_image(resize_and_crop(decoded, size_));
  }

 private:
  PixArt(const Options& options, const Context& context, const PixArtFiles& files)
      : PixArt(options, context, files, PixArtConfig(files)) {}

  PixArt(const Options& options, const Context& context, const PixArtFiles& files, const PixArtConfig& config)
      : size_{options.size.height.value_or(config.native_size()),
              options.size.width.value_or(config.native_size())},
        model_(load(files, config, generated_size(options.binning, config), context)) {}

  /// The positions and the time step are embedded here; nothing of it is optimised.
  static PixArtAlpha load(const PixArtFiles& files, const PixArtConfig& config, const Resolution& size,
                          const Context& context) {
    const c10::NoGradGuard no_grad;
    return {files, config, size, context};
  }

  /// What the networks make of what was asked for.
  Resolution generated_size(bool binning, const PixArtConfig& config) const {
    if (binning && has_aspect_ratio_bins(config.transformer.sample_size))
      return nearest_bin(size_, config.transformer.sample_size);
    const auto multiple = config.patch_pixels();
    for (const auto& [name, pixels] : {std::pair("height", size_.height), std::pair("width", size_.width)})
      if (pixels % multiple != 0)
        throw ConfigurationError(fmt::format("{} = {} is not a multiple of {}", name, pixels, multiple));
    return size_;
  }

  Resolution size_;  ///< of the image that is returned
  PixArtAlpha model_;
};

static_assert(Generator<PixArt>);

}  // namespace reno
