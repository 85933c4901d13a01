// A small decoder in place of a generator's own while the noise is optimised (the option `preview`). The
// images that a run keeps, and the scores that it reports for them, are the generator's own.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <optional>

#include "reno/context.hpp"
#include "reno/io/checkpoint.hpp"
#include "reno/io/config.hpp"
#include "reno/io/hub.hpp"
#include "reno/io/unused.hpp"
#include "reno/nn/autoencoder_kl.hpp"
#include "reno/nn/autoencoder_tiny.hpp"
#include "reno/nn/offload.hpp"
#include "reno/pipelines/components_fit.hpp"

namespace reno {

/// Which of a generator's decoders makes an image of the latents.
enum class Decoder { own, preview };

class PreviewDecoder {
 public:
  static constexpr const char* help =
      "hub id or directory of a small decoder (AutoencoderTiny: madebyollin/taesd, taesdxl for SDXL) that "
      "makes "
      "the images while the noise is optimised; what is kept is decoded and scored by the model's own; "
      "empty: "
      "the model's own throughout";

  /// Empty `weights`: there is none. Throws LoadError for a decoder of latents other than those of `own`.
  PreviewDecoder(const std::filesystem::path& weights, const nn::AutoencoderKLConfig& own,
                 const Context& context) {
    if (weights.empty()) return;
    const auto folder = resolve_checkpoint(weights.string(), context.search_paths);
    const nn::AutoencoderTinyConfig config(Config::read(folder / "config.json"));
    const ComponentsFit fits{folder.string()};
    fits("the preview decoder's latent_channels", config.latent_channels, "the VAE's", own.latent_channels);
    fits("the preview decoder's out_channels", config.out_channels, "the VAE's", own.out_channels);
    fits("the preview decoder's enlargement", config.scale_factor(), "the VAE's", own.scale_factor());
    weights_.emplace(open_checkpoint(folder, "diffusion_pytorch_model"), context,
                     nn::Visits::every_iteration);
    decoder_.emplace(weights_->weights(), config);
    if (context.log) log_unused({weights_->weights()}, "preview", *context.log, {"encoder."});
    decoder_->recompute = recompute_decoder(context.memory);
    scaling_factor_ = config.scaling_factor;
    dtype_ = context.dtype;
  }

  explicit operator bool() const { return decoder_.has_value(); }

  /// What it needs on the device while it works.
  const nn::Offload& weights() const { return *weights_; }

  /// Latents as the diffusion model has them (N, channels, h, w) -> images (N, 3, H, W) in [0, 1].
  at::Tensor operator()(const at::Tensor& latents) const {
    return nn::to_image((*decoder_)(latents.to(dtype_) / scaling_factor_));
  }

 private:
  std::optional<nn::Offload> weights_;
  std::optional<nn::AutoencoderTinyDecoder> decoder_;
  double scaling_factor_ = 1.0;
  at::ScalarType dtype_ = at::kFloat;
};

}  // namespace reno
