// SDXL (Podell et al. 2023, arXiv:2307.01952) as diffusers' StableDiffusionXLPipeline composes it: the hidden
// states of two CLIP text encoders side by side condition a UNet, which is also told the pooled prompt and
// the image's size. Which scheduler samples is up to the caller.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>
#include <fmt/format.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "reno/concepts.hpp"
#include "reno/context.hpp"
#include "reno/io/checkpoint.hpp"
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
#include "reno/text/clip_tokenizer.hpp"
#include "reno/text/encode_prompts.hpp"

namespace reno {

/// Where the parts of a model are that is put together from several downloads.
struct StableDiffusionXLFiles {
  Pretrained model;                          ///< all parts that are not elsewhere
  std::filesystem::path unet;                ///< weights alone, a file or a directory; empty: the model's
  std::optional<std::filesystem::path> vae;  ///< directory with its config.json; unset: the model's
  std::filesystem::path preview;             ///< as for PreviewDecoder

  explicit StableDiffusionXLFiles(Pretrained model) : model(std::move(model)) {}

  Config vae_config() const { return vae ? Config::read(*vae / "config.json") : model.config("vae"); }

  /// The autoencoder's dtype in a run of `dtype`: SDXL's own overflows in half precision, and says so in its
  /// configuration.
  at::ScalarType vae_dtype(at::ScalarType dtype) const {
    return vae_config().get<bool>("force_upcast", true) ? at::promote_types(dtype, at::kFloat) : dtype;
  }

  std::shared_ptr<const TensorSource> vae_source() const {
    const std::string stem = "diffusion_pytorch_model";
    return vae ? open_checkpoint(*vae, stem) : model.source("vae", stem);
  }
  std::shared_ptr<const TensorSource> unet_source() const {
    const std::string stem = "diffusion_pytorch_model";
    return unet.empty() ? model.source("unet", stem) : open_checkpoint(unet, stem);
  }
};

/// Configurations of the networks, which must fit each other.
struct StableDiffusionXLConfig {
  nn::CLIPTextConfig text_encoder;
  nn::CLIPTextConfig text_encoder_2;
  nn::UNet2DConditionConfig unet;
  nn::AutoencoderKLConfig vae;

  /// Throws LoadError for a configuration that is malformed, not implemented, or does not fit the others.
  explicit StableDiffusionXLConfig(const StableDiffusionXLFiles& files)
      : text_encoder(files.model.config("text_encoder")),
        text_encoder_2(files.model.config("text_encoder_2")),
        unet(files.model.config("unet")),
        vae(files.vae_config()) {
    const auto folder = files.model.folder().string();
    const ComponentsFit fits{folder};
    if (!unet.text_time)
      throw LoadError(
          files.model.component("unet").string() +
          "/config.json: addition_embed_type is null, which is Stable Diffusion's, expected SDXL's "
          "\"text_time\"");
    fits("the UNet's cross_attention_dim", unet.cross_attention_dim,
         "the sum of the text encoders' hidden_size", text_encoder.hidden_size + text_encoder_2.hidden_size);
    fits("the UNet's projection_class_embeddings_input_dim", unet.text_time->input_dim,
         "the second text encoder's projection_dim + 6 addition_time_embed_dim",
         text_encoder_2.projection_dim + 6 * unet.text_time->time_embed_dim);
    fits("the UNet's in_channels", unet.in_channels, "its out_channels", unet.out_channels);
    fits("the UNet's out_channels", unet.out_channels, "the VAE's latent_channels", vae.latent_channels);
    fits("the VAE's out_channels", vae.out_channels, "an image's", 3);
  }

  /// What the UNet denoises for an image of that size.
  std::vector<std::int64_t> noise_shape(const ImageSize& size = {}) const {
    return size.latent_shape(unet.in_channels, unet.sample_size, vae.scale_factor());
  }
};

struct StableDiffusionXL {
  /// A batch of encoded prompts.
  struct PromptEmbeds {
    at::Tensor states;  ///< (N, tokens, width of both encoders)
    at::Tensor pooled;  ///< (N, projection_dim) of the second encoder
  };

  struct Conditions {
    std::vector<at::Tensor> times;   ///< embedding of each time step, with size and pooled prompt; (N, width)
    at::Tensor states;               ///< (N, tokens, width)
    std::optional<double> guidance;  ///< scale; all tensors then have the negative half in front
  };

  StableDiffusionXLConfig config;
  ClipTokenizer tokenizer;
  ClipTokenizer tokenizer_2;
  nn::Offload text_weights, text_weights_2, unet_weights, vae_weights;
  nn::CLIPTextModel text_encoder;
  nn::CLIPTextModelWithProjection text_encoder_2;
  nn::UNet2DConditionModel unet;
  nn::AutoencoderKLDecoder vae;
  PreviewDecoder preview;
  at::ScalarType vae_dtype;
  std::shared_ptr<spdlog::logger> log;
  std::shared_ptr<StageClock> clock;

  /// Throws LoadError when a component is missing, damaged, not implemented, or does not fit the others.
  /// `decoder_dtype`: the VAE's, where it is not the run's.
  StableDiffusionXL(const StableDiffusionXLFiles& files, const Context& context,
                    std::optional<at::ScalarType> decoder_dtype = {})
      : config(files),
        tokenizer(read_tokenizer(files.model, "tokenizer")),
        tokenizer_2(read_tokenizer(files.model, "tokenizer_2")),
        text_weights(files.model.source("text_encoder", "model"), context, nn::Visits::once_per_prompt),
        text_weights_2(files.model.source("text_encoder_2", "model"), context, nn::Visits::once_per_prompt),
        unet_weights(files.unet_source(), context, nn::Visits::every_iteration),
        vae_weights(files.vae_source(), with_dtype(context, decoder_dtype), nn::Visits::every_iteration),
        text_encoder(text_weights.weights(), config.text_encoder),
        text_encoder_2(text_weights_2.weights(), config.text_encoder_2),
        unet(unet_weights.weights(), config.unet),
        vae(vae_weights.weights(), config.vae),
        preview(files.preview, config.vae, context),
        vae_dtype(decoder_dtype.value_or(context.dtype)),
        log(context.log),
        clock(context.clock) {
    unet.recompute = recompute_denoiser(context.memory);
    vae.recompute = recompute_decoder(context.memory);
    if (!log) return;
    log_unused({text_weights.weights()}, "text_encoder", *log);
    log_unused({text_weights_2.weights()}, "text_encoder_2", *log);
    log_unused({unet_weights.weights()}, "unet", *log);
    log_unused({vae_weights.weights()}, "vae", *log, nn::AutoencoderKLDecoder::encoder_names());
  }

  /// What is before the last layer of each encoder, without the final norm.
  PromptEmbeds encode(const Prompts& prompts) const {
    const auto ids = encode_prompts(tokenizer, prompts, log);
    const auto ids_2 = encode_prompts(tokenizer_2, prompts, nullptr);  // one warning is enough
    const auto first = text_weights.during([&] { return text_encoder(ids).penultimate; });
    return text_weights_2.during([&]() -> PromptEmbeds {
      const auto second = text_encoder_2.text_model(ids_2);
      return {at::cat({first, second.penultimate}, -1), text_encoder_2.text_projection(second.pooled)};
    });
  }

  /// What a sampling run through these time steps is conditioned on. Guidance is active above 1; it leads
  /// away from zeros, not from an encoded empty prompt.
  Conditions condition(const std::vector<float>& timesteps, PromptEmbeds embeds, double guidance = 0) const {
    Conditions conditions;
    if (guidance > 1) {
      conditions.guidance = guidance;
      embeds.states = at::cat({at::zeros_like(embeds.states), embeds.states});
      embeds.pooled = at::cat({at::zeros_like(embeds.pooled), embeds.pooled});
    }
    conditions.states = std::move(embeds.states);
    return unet_weights.during([&] {
      for (const float timestep : timesteps)
        conditions.times.push_back(unet.embed_time(timestep, {{embeds.pooled, time_ids(embeds.pooled)}}));
      return conditions;
    });
  }

  /// Images (N, 3, H, W) in [0, 1], in the decoder's dtype, from unit noise (N, noise_shape); differentiable
  /// in the noise. `steps` as any scheduler's set_timesteps returns them; `fresh` is what stochastic ones
  /// add: for a gradient in the memory mode `lean`, where the stage runs twice, it must give the same again.
  template <class Steps>
  at::Tensor generate(const Steps& steps, const Conditions& conditions, const at::Tensor& noise,
                      const schedulers::FreshNoise& fresh = {}, Decoder decoder = Decoder::own) const {
    const GuidedUNet predict{unet, conditions.times, conditions.states, conditions.guidance};
    const Stage denoise{unet_weights, [steps, predict, fresh](const at::Tensor& z) {
                          return schedulers::denoise(steps, z.to(predict.prompt.scalar_type()), predict,
                                                     fresh);
                        }};
    const Stage decode{decoder == Decoder::preview ? preview.weights() : vae_weights,
                       [this, decoder](const at::Tensor& latents) {
                         return decoder == Decoder::preview ? preview(latents) : this->decode(latents);
                       }};
    return in_stages(clock, noise, denoise, decode);
  }

  /// Images (N, 3, H, W) in [0, 1], in the VAE's dtype.
  at::Tensor decode(const at::Tensor& latents) const {
    return nn::to_image(vae(latents.to(vae_dtype) / config.vae.scaling_factor));
  }

 private:
  /// The size that the model was trained for, whatever the image's, as in the published pipeline: original
  /// height and width, top and left of the crop, target height and width.
  at::Tensor time_ids(const at::Tensor& pooled) const {
    const auto side = static_cast<float>(config.unet.sample_size * config.vae.scale_factor());
    const auto ids = at::tensor({side, side, 0.0F, 0.0F, side, side}, at::kFloat).to(pooled.device());
    return ids.expand({pooled.size(0), 6});
  }
  static ClipTokenizer read_tokenizer(const Pretrained& files, const char* name) {
    return ClipTokenizer::from_directory(files.component(name), ClipTextStyle::transformers);
  }
  static Context with_dtype(Context context, std::optional<at::ScalarType> dtype) {
    context.dtype = dtype.value_or(context.dtype);
    return context;
  }
};

}  // namespace reno
