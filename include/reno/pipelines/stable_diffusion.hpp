// Stable Diffusion (Rombach et al. 2022) as diffusers' StableDiffusionPipeline composes it: CLIP's hidden
// states condition a UNet, Euler's method samples latents, the autoencoder decodes them.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <fmt/format.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "reno/concepts.hpp"
#include "reno/context.hpp"
#include "reno/io/pretrained.hpp"
#include "reno/io/unused.hpp"
#include "reno/nn/autoencoder_kl.hpp"
#include "reno/nn/clip.hpp"
#include "reno/nn/offload.hpp"
#include "reno/nn/unet2d_condition.hpp"
#include "reno/pipelines/components_fit.hpp"
#include "reno/pipelines/guided_unet.hpp"
#include "reno/pipelines/image_size.hpp"
#include "reno/pipelines/in_stages.hpp"
#include "reno/pipelines/preview_decoder.hpp"
#include "reno/schedulers/denoise.hpp"
#include "reno/schedulers/euler_discrete.hpp"
#include "reno/text/clip_tokenizer.hpp"
#include "reno/text/encode_prompts.hpp"

namespace reno {

/// Configurations of the networks, which must fit each other.
struct StableDiffusionConfig {
  nn::CLIPTextConfig text_encoder;
  nn::UNet2DConditionConfig unet;
  nn::AutoencoderKLConfig vae;

  /// Throws LoadError for a configuration that is malformed, not implemented, or does not fit the others.
  explicit StableDiffusionConfig(const Pretrained& files)
      : text_encoder(files.config("text_encoder")), unet(files.config("unet")), vae(files.config("vae")) {
    const ComponentsFit fits{files.folder().string()};
    fits("the UNet's cross_attention_dim", unet.cross_attention_dim, "the text encoder's hidden_size",
         text_encoder.hidden_size);
    fits("the UNet's in_channels", unet.in_channels, "its out_channels", unet.out_channels);
    fits("the UNet's out_channels", unet.out_channels, "the VAE's latent_channels", vae.latent_channels);
    fits("the VAE's out_channels", vae.out_channels, "an image's", 3);
    if (unet.text_time)
      throw LoadError(
          files.component("unet").string() +
          "/config.json: addition_embed_type = \"text_time\" is SDXL's, expected Stable Diffusion's null");
  }

  /// What the UNet denoises for an image of that size.
  std::vector<std::int64_t> noise_shape(const ImageSize& size = {}) const {
    return size.latent_shape(unet.in_channels, unet.sample_size, vae.scale_factor());
  }
};

struct StableDiffusion {
  /// A sampling run, prepared: what depends neither on the noise nor on the prompt.
  struct Sampling {
    schedulers::EulerDiscreteSteps steps;
    std::vector<at::Tensor> times;  ///< embedding of each time step
  };

  /// Classifier-free guidance away from the unconditional prompt.
  struct Guidance {
    double scale;
    at::Tensor negative_embeds;  ///< (1 or N, tokens, width)
  };

  StableDiffusionConfig config;
  ClipTokenizer tokenizer;
  schedulers::EulerDiscreteScheduler scheduler;
  nn::Offload text_weights, unet_weights, vae_weights;
  nn::CLIPTextModel text_encoder;
  nn::UNet2DConditionModel unet;
  nn::AutoencoderKLDecoder vae;
  PreviewDecoder preview;
  std::shared_ptr<spdlog::logger> log;
  std::shared_ptr<StageClock> clock;

  /// Throws LoadError when a component is missing, damaged, not implemented, or does not fit the others.
  /// `preview`: as for PreviewDecoder.
  StableDiffusion(const Pretrained& files, const Context& context, const std::filesystem::path& preview = {})
      : config(files),
        tokenizer(ClipTokenizer::from_directory(files.component("tokenizer"), ClipTextStyle::transformers)),
        scheduler(files.config("scheduler", "scheduler_config.json")),
        text_weights(files.source("text_encoder", "model"), context, nn::Visits::once_per_prompt),
        unet_weights(files.source("unet", "diffusion_pytorch_model"), context, nn::Visits::every_iteration),
        vae_weights(files.source("vae", "diffusion_pytorch_model"), context, nn::Visits::every_iteration),
        text_encoder(text_weights.weights(), config.text_encoder),
        unet(unet_weights.weights(), config.unet),
        vae(vae_weights.weights(), config.vae),
        preview(preview, config.vae, context),
        log(context.log),
        clock(context.clock) {
    unet.recompute = recompute_denoiser(context.memory);
    vae.recompute = recompute_decoder(context.memory);
    if (!log) return;
    log_unused({text_weights.weights()}, "text_encoder", *log);
    log_unused({unet_weights.weights()}, "unet", *log);
    log_unused({vae_weights.weights()}, "vae", *log, nn::AutoencoderKLDecoder::encoder_names());
  }

  /// Hidden states after the final norm (N, tokens, width).
  at::Tensor encode(const Prompts& prompts) const {
    const auto ids = encode_prompts(tokenizer, prompts, log);
    return text_weights.during([&] { return text_encoder(ids).last_hidden_state; });
  }

  Sampling prepare(std::int64_t steps) const {
    Sampling sampling{scheduler.set_timesteps(steps), {}};
    return unet_weights.during([&] {
      for (const float timestep : sampling.steps.timesteps)
        sampling.times.push_back(unet.embed_time(timestep));
      return sampling;
    });
  }

  /// Images (N, 3, H, W) in [0, 1] from unit noise (N, noise_shape), in the networks' dtype; differentiable
  /// in the noise.
  at::Tensor sample(const Sampling& sampling, const at::Tensor& noise, const at::Tensor& prompt_embeds,
                    const std::optional<Guidance>& guidance = {}, Decoder decoder = Decoder::own) const {
    GuidedUNet predict{unet, sampling.times, prompt_embeds, {}};
    if (guidance) {
      predict.prompt = at::cat({guidance->negative_embeds.expand_as(prompt_embeds), prompt_embeds});
      predict.guidance = guidance->scale;
    }
    const Stage denoise{unet_weights, [steps = sampling.steps, predict](const at::Tensor& z) {
                          return schedulers::denoise(steps, z.to(predict.prompt.scalar_type()), predict);
                        }};
    // This constant and not the VAE's scaling_factor, as in the published pipeline.
    const Stage decode{decoder == Decoder::preview ? preview.weights() : vae_weights,
                       [this, decoder](const at::Tensor& latents) {
                         return decoder == Decoder::preview ? preview(latents)
                                                            : nn::to_image(vae(latents * (1 / 0.18215)));
                       }};
    return in_stages(clock, noise, denoise, decode);
  }
};

}  // namespace reno
