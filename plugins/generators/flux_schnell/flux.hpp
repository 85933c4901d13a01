// FLUX.1 (Black Forest Labs 2024) as diffusers' FluxPipeline composes it: T5's states and CLIP's pooled state
// condition a transformer, Euler's method follows its velocity from packed noise to packed latents, the
// autoencoder decodes them.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "reno/concepts.hpp"
#include "reno/context.hpp"
#include "reno/io/pretrained.hpp"
#include "reno/io/unused.hpp"
#include "reno/nn/autoencoder_kl.hpp"
#include "reno/nn/clip.hpp"
#include "reno/nn/flux_transformer.hpp"
#include "reno/nn/offload.hpp"
#include "reno/nn/t5.hpp"
#include "reno/pipelines/components_fit.hpp"
#include "reno/pipelines/in_stages.hpp"
#include "reno/schedulers/denoise.hpp"
#include "reno/schedulers/flow_match_euler.hpp"
#include "reno/text/clip_tokenizer.hpp"
#include "reno/text/encode_prompts.hpp"
#include "reno/text/t5_tokenizer.hpp"

namespace reno {

/// Configurations of the networks, which must fit each other.
struct FluxConfig {
  nn::CLIPTextConfig text_encoder;
  nn::T5Config text_encoder_2;
  nn::FluxTransformerConfig transformer;
  nn::AutoencoderKLConfig vae;

  /// Throws LoadError for a configuration that is malformed, not implemented, or does not fit the others.
  explicit FluxConfig(const Pretrained& files)
      : text_encoder(files.config("text_encoder")),
        text_encoder_2(files.config("text_encoder_2")),
        transformer(files.config("transformer")),
        vae(files.config("vae")) {
    const ComponentsFit fits{files.folder().string()};
    fits("the transformer's pooled_projection_dim", transformer.pooled_projection_dim,
         "the text encoder's hidden_size", text_encoder.hidden_size);
    fits("the transformer's joint_attention_dim", transformer.joint_attention_dim,
         "the second text encoder's d_model", text_encoder_2.d_model);
    fits("the transformer's in_channels", transformer.in_channels, "four times the VAE's latent_channels",
         4 * vae.latent_channels);
    fits("the VAE's out_channels", vae.out_channels, "an image's", 3);
  }

  /// Image pixels along a side of a token's patch.
  std::int64_t patch_pixels() const { return 2 * vae.scale_factor(); }
};

/// How many tokens an image has.
struct FluxGrid {
  std::int64_t rows;
  std::int64_t columns;
};

struct Flux {
  /// Tokens of T5.
  static constexpr std::int64_t max_length = 256;

  struct PromptEmbeds {
    at::Tensor text;    ///< (N, max_length, inner), T5's states as the transformer takes them
    at::Tensor pooled;  ///< (N, pooled_projection_dim), CLIP's
  };

  FluxConfig config;
  FluxGrid grid;
  ClipTokenizer tokenizer;
  T5Tokenizer tokenizer_2;
  schedulers::FlowMatchEulerScheduler scheduler;
  nn::Offload text_weights, text_weights_2, modulation_weights, transformer_weights, vae_weights;
  nn::CLIPTextModel text_encoder;
  nn::T5EncoderModel text_encoder_2;
  nn::FluxModulator modulator;
  nn::FluxTransformer transformer;
  nn::AutoencoderKLDecoder vae;
  at::Tensor positions;  ///< of the tokens
  std::shared_ptr<spdlog::logger> log;
  std::shared_ptr<StageClock> clock;

  /// Throws LoadError when a component is missing, damaged, not implemented, or does not fit the others.
  Flux(const Pretrained& files, const FluxConfig& config, const FluxGrid& grid, const Context& context)
      : config(config),
        grid(grid),
        tokenizer(ClipTokenizer::from_directory(files.component("tokenizer"), ClipTextStyle::transformers)),
        tokenizer_2(T5Tokenizer::from_directory(files.component("tokenizer_2"), max_length)),
        scheduler(files.config("scheduler", "scheduler_config.json")),
        text_weights(files.source("text_encoder", "model"), context, nn::Visits::once_per_prompt),
        text_weights_2(files.source("text_encoder_2", "model"), context, nn::Visits::once_per_prompt),
        modulation_weights(files.source("transformer", "diffusion_pytorch_model"), context,
                           nn::Visits::once_per_prompt),
        transformer_weights(files.source("transformer", "diffusion_pytorch_model"), context,
                            nn::Visits::every_iteration),
        vae_weights(files.source("vae", "diffusion_pytorch_model"), context, nn::Visits::every_iteration),
        text_encoder(text_weights.weights(), config.text_encoder),
        text_encoder_2(text_weights_2.weights(), config.text_encoder_2, nn::T5Precision::uniform),
        modulator(modulation_weights.weights(), config.transformer),
        transformer(transformer_weights.weights(), config.transformer),
        vae(vae_weights.weights(), config.vae),
        positions(transformer_weights.during(
            [&] { return transformer.embed_positions(max_length, grid.rows, grid.columns); })),
        log(context.log),
        clock(context.clock) {
    transformer.recompute = recompute_denoiser(context.memory);
    vae.recompute = recompute_decoder(context.memory);
    if (!log) return;
    log_unused({text_weights.weights()}, "text_encoder", *log);
    log_unused({text_weights_2.weights()}, "text_encoder_2", *log);
    log_unused({modulation_weights.weights(), transformer_weights.weights()}, "transformer", *log);
    log_unused({vae_weights.weights()}, "vae", *log, nn::AutoencoderKLDecoder::encoder_names());
  }

  /// Of one image's noise: tokens, as the published pipeline draws it.
  std::vector<std::int64_t> noise_shape() const {
    return {grid.rows * grid.columns, config.transformer.in_channels};
  }

  /// T5 reads more than three times as much of a prompt as CLIP, so that only its limit is worth a warning.
  PromptEmbeds encode(const Prompts& prompts) const {
    const auto ids = encode_prompts(tokenizer, prompts, nullptr);
    const auto ids_2 = encode_prompts(tokenizer_2, prompts, log);
    const auto pooled = text_weights.during([&] { return text_encoder(ids).pooled; });
    const auto states = text_weights_2.during([&] { return text_encoder_2(ids_2); });
    return {transformer_weights.during([&] { return transformer.context_embedder(states); }), pooled};
  }

  /// What time step and prompt make of the transformer's layers at each step.
  std::vector<nn::FluxModulation> modulate(const schedulers::FlowMatchEulerSteps& steps,
                                           const PromptEmbeds& embeds) const {
    return modulation_weights.during([&] {
      std::vector<nn::FluxModulation> modulations;
      for (const float timestep : steps.timesteps) modulations.push_back(modulator(timestep, embeds.pooled));
      return modulations;
    });
  }

  /// Images (N, 3, H, W) in [0, 1] from noise (N, noise_shape), in the networks' dtype; differentiable in the
  /// noise.
  at::Tensor sample(const schedulers::FlowMatchEulerSteps& steps,
                    const std::vector<nn::FluxModulation>& modulations, const at::Tensor& text,
                    const at::Tensor& noise) const {
    const auto predict = [this, modulations, text](const at::Tensor& input, std::size_t i) {
      return transformer(input, text, modulations[i], positions);
    };
    const Stage denoise{transformer_weights,
                        [steps, predict, dtype = text.scalar_type()](const at::Tensor& z) {
                          return schedulers::denoise(steps, z.to(dtype), predict);
                        }};
    const Stage decode{
        vae_weights, [this](const at::Tensor& latents) { return nn::to_image(vae(decoder_input(latents))); }};
    return in_stages(clock, noise, denoise, decode);
  }

  /// From packed latents to what the decoder takes.
  at::Tensor decoder_input(const at::Tensor& latents) const {
    return unpacked(latents) / config.vae.scaling_factor + config.vae.shift_factor.value_or(0);
  }

  /// (N, tokens, channels · 2 · 2) -> (N, channels, height, width).
  at::Tensor unpacked(const at::Tensor& latents) const {
    const auto patches = latents.reshape({latents.size(0), grid.rows, grid.columns, -1, 2, 2});
    return patches.permute({0, 3, 1, 4, 2, 5})
        .reshape({latents.size(0), -1, 2 * grid.rows, 2 * grid.columns});
  }
};

}  // namespace reno
