// PixArt-α (Chen et al. 2023, arXiv:2310.00426) as diffusers' PixArtAlphaPipeline composes it, with the
// transformer that DMD (Yin et al. 2024, arXiv:2311.18828) distilled to one step: T5's hidden states
// condition a transformer, which at one time step predicts the noise, and so the clean latents.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <fmt/format.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "image_size.hpp"
#include "reno/concepts.hpp"
#include "reno/context.hpp"
#include "reno/io/pretrained.hpp"
#include "reno/io/unused.hpp"
#include "reno/nn/autoencoder_kl.hpp"
#include "reno/nn/offload.hpp"
#include "reno/nn/pixart_transformer.hpp"
#include "reno/nn/t5.hpp"
#include "reno/pipelines/components_fit.hpp"
#include "reno/pipelines/in_stages.hpp"
#include "reno/schedulers/ddpm.hpp"
#include "reno/text/encode_prompts.hpp"
#include "reno/text/t5_tokenizer.hpp"
#include "reno/text/unicode.hpp"

namespace reno {

/// Where a model's parts are: the pipeline's folder, and the one with the distilled transformer and its
/// scheduler.
struct PixArtFiles {
  Pretrained base;
  Pretrained dmd;
};

/// Configurations of the networks, which must fit each other.
struct PixArtConfig {
  nn::T5Config text_encoder;
  nn::PixArtTransformerConfig transformer;
  nn::AutoencoderKLConfig vae;

  /// Throws LoadError for a configuration that is malformed, not implemented, or does not fit the others.
  explicit PixArtConfig(const PixArtFiles& files)
      : text_encoder(files.base.config("text_encoder")),
        transformer(files.dmd.config("transformer")),
        vae(files.base.config("vae")) {
    const ComponentsFit fits{files.base.folder().string() + " and " + files.dmd.folder().string()};
    fits("the transformer's caption_channels", transformer.caption_channels, "the text encoder's d_model",
         text_encoder.d_model);
    fits("the transformer's in_channels", transformer.in_channels, "the VAE's latent_channels",
         vae.latent_channels);
    fits("the VAE's out_channels", vae.out_channels, "an image's", 3);
    if (transformer.out_channels != transformer.in_channels)
      fits("the transformer's out_channels", transformer.out_channels, "twice its in_channels (a variance)",
           2 * transformer.in_channels);
  }

  /// Pixels along a side that the model was made for.
  std::int64_t native_size() const { return transformer.sample_size * vae.scale_factor(); }

  /// Height and width are multiples of this many pixels.
  std::int64_t patch_pixels() const { return transformer.patch_size * vae.scale_factor(); }
};

struct PixArtAlpha {
  /// The one time step at which the distilled transformer was trained.
  static constexpr std::int64_t timestep = 400;
  /// Tokens of T5.
  static constexpr std::int64_t max_length = 120;

  PixArtConfig config;
  Resolution size;  ///< of the image that the networks make
  T5Tokenizer tokenizer;
  schedulers::DDPMScheduler scheduler;
  nn::Offload text_weights, transformer_weights, vae_weights;
  nn::T5EncoderModel text_encoder;
  nn::PixArtTransformer transformer;
  nn::AutoencoderKLDecoder vae;
  at::Tensor positions;  ///< of the patches
  nn::PixArtTime time;
  std::shared_ptr<spdlog::logger> log;
  std::shared_ptr<StageClock> clock;

  /// `size` is in multiples of the configuration's `patch_pixels`. Throws LoadError when a component is
  /// missing, damaged, not implemented, or does not fit the others.
  PixArtAlpha(const PixArtFiles& files, const PixArtConfig& config, const Resolution& size,
              const Context& context)
      : config(config),
        size(size),
        tokenizer(T5Tokenizer::from_directory(files.base.component("tokenizer"), max_length)),
        scheduler(files.dmd.config("scheduler", "scheduler_config.json")),
        text_weights(files.base.source("text_encoder", "model"), context, nn::Visits::once_per_prompt),
        transformer_weights(files.dmd.source("transformer", "diffusion_pytorch_model"), context,
                            nn::Visits::every_iteration),
        vae_weights(files.base.source("vae", "diffusion_pytorch_model"), context,
                    nn::Visits::every_iteration),
        text_encoder(text_weights.weights(), config.text_encoder, nn::T5Precision::float32_out),
        transformer(transformer_weights.weights(), config.transformer),
        vae(vae_weights.weights(), config.vae),
        positions(transformer_weights.during([&] {
          return transformer.embed_positions(size.height / config.vae.scale_factor(),
                                             size.width / config.vae.scale_factor());
        })),
        time(transformer_weights.during([&] {
          return transformer.adaln_single(static_cast<double>(timestep), size.height, size.width);
        })),
        log(context.log),
        clock(context.clock) {
    transformer.recompute = recompute_denoiser(context.memory);
    vae.recompute = recompute_decoder(context.memory);
    if (!log) return;
    log_unused({text_weights.weights()}, "text_encoder", *log);
    log_unused({transformer_weights.weights()}, "transformer", *log);
    log_unused({vae_weights.weights()}, "vae", *log, nn::AutoencoderKLDecoder::encoder_names());
  }

  /// Of one image's noise.
  std::vector<std::int64_t> noise_shape() const {
    const auto factor = config.vae.scale_factor();
    return {config.transformer.in_channels, size.height / factor, size.width / factor};
  }

  /// The prompts' tokens, in the spelling that the model knows: lower case, no white space at the ends.
  std::vector<Tokens> tokenize(Prompts prompts) const {
    for (auto& prompt : prompts)
      prompt = text::encode_utf8(text::strip(text::to_lower(text::decode_utf8(prompt))));
    return tokenize_prompts(tokenizer, prompts, log);
  }

  /// T5's hidden states as the transformer takes them.
  nn::PixArtPrompt encode(const Prompts& prompts) const {
    nn::TokenIds ids, mask;
    for (const auto& tokens : tokenize(prompts)) {
      ids.push_back(tokens.ids);
      mask.push_back(tokens.attention_mask());
    }
    const auto states = text_weights.during([&] { return text_encoder(ids, mask); });
    return transformer_weights.during([&] { return transformer.embed_prompt(states, mask); });
  }

  /// Decoded images (N, 3, size), about [-1, 1], from unit noise (N, noise_shape) in the networks' dtype;
  /// differentiable in the noise.
  at::Tensor sample(const at::Tensor& noise, const nn::PixArtPrompt& prompt) const {
    return in_stages(
        clock, noise,
        Stage{transformer_weights, [this, prompt](const at::Tensor& z) { return denoise(z, prompt); }},
        Stage{vae_weights,
              [this](const at::Tensor& latents) { return vae(latents / config.vae.scaling_factor); }});
  }

  /// The clean latents that the transformer sees in the noise.
  at::Tensor denoise(const at::Tensor& noise, const nn::PixArtPrompt& prompt) const {
    const auto output = transformer(noise, positions, time, prompt);
    return scheduler.predict_original(output.narrow(1, 0, noise.size(1)), timestep, noise);
  }
};

}  // namespace reno
