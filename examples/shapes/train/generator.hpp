// The generator in training: Stable Diffusion's text encoder, UNet and decoder from include/reno/nn, in
// small, with heads that are there only while it learns.
#pragma once

#include <ATen/ATen.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "reno/io/config.hpp"
#include "reno/nn/autoencoder_kl.hpp"
#include "reno/nn/clip.hpp"
#include "reno/nn/unet2d_condition.hpp"
#include "reno/schedulers/denoise.hpp"
#include "reno/schedulers/euler_discrete.hpp"
#include "shapes/train/lessons.hpp"
#include "shapes/train/parameters.hpp"
#include "shapes/train/prompt_classes.hpp"

namespace reno::shapes {

/// Longest prompt in tokens, with start and end.
inline constexpr std::int64_t prompt_length = 16;

/// The generator's configuration files: config.json of each network, scheduler_config.json, model_index.json.
struct GeneratorFiles {
  nlohmann::ordered_json text_encoder, unet, vae, scheduler, index;

  /// `start` and `end` are token ids.
  GeneratorFiles(std::int64_t vocabulary_size, std::int64_t start, std::int64_t end)
      : text_encoder{{"architectures", {"CLIPTextModel"}},
                     {"model_type", "clip_text_model"},
                     {"vocab_size", vocabulary_size},
                     {"hidden_size", 64},
                     {"intermediate_size", 128},
                     {"num_hidden_layers", 2},
                     {"num_attention_heads", 4},
                     {"max_position_embeddings", prompt_length},
                     {"projection_dim", 64},
                     {"hidden_act", "gelu"},
                     {"layer_norm_eps", 1e-5},
                     {"bos_token_id", start},
                     {"eos_token_id", end},
                     {"pad_token_id", end},
                     {"torch_dtype", "float16"}},
        unet{{"_class_name", "UNet2DConditionModel"},
             {"_diffusers_version", "0.30.0"},
             {"sample_size", noise_size},
             {"in_channels", noise_channels},
             {"out_channels", noise_channels},
             {"block_out_channels", {64, 48}},
             {"layers_per_block", 1},
             {"down_block_types", {"CrossAttnDownBlock2D", "DownBlock2D"}},
             {"mid_block_type", "UNetMidBlock2DCrossAttn"},
             {"up_block_types", {"UpBlock2D", "CrossAttnUpBlock2D"}},
             {"cross_attention_dim", 64},
             {"attention_head_dim", 4},
             {"transformer_layers_per_block", 1},
             {"use_linear_projection", true},
             {"norm_num_groups", 8},
             {"norm_eps", 1e-5},
             {"act_fn", "silu"},
             {"downsample_padding", 1},
             {"flip_sin_to_cos", true},
             {"freq_shift", 0},
             {"center_input_sample", false}},
        vae{{"_class_name", "AutoencoderKL"},
            {"_diffusers_version", "0.30.0"},
            {"in_channels", 3},
            {"out_channels", 3},
            {"latent_channels", noise_channels},
            {"block_out_channels", {16, 16, 32, 64}},
            {"layers_per_block", 1},
            {"down_block_types", std::vector<std::string>(4, "DownEncoderBlock2D")},
            {"up_block_types", std::vector<std::string>(4, "UpDecoderBlock2D")},
            {"norm_num_groups", 4},
            {"mid_block_add_attention", false},
            {"act_fn", "silu"},
            {"sample_size", image_size},
            {"scaling_factor", 0.18215}},
        scheduler{{"_class_name", "EulerDiscreteScheduler"},
                  {"_diffusers_version", "0.30.0"},
                  {"num_train_timesteps", 1000},
                  {"beta_schedule", "scaled_linear"},
                  {"beta_start", 0.00085},
                  {"beta_end", 0.012},
                  {"prediction_type", "v_prediction"},
                  {"timestep_spacing", "trailing"},
                  {"interpolation_type", "linear"},
                  {"use_karras_sigmas", false},
                  {"steps_offset", 1}},
        index{{"_class_name", "StableDiffusionPipeline"},
              {"_diffusers_version", "0.30.0"},
              {"requires_safety_checker", false},
              {"safety_checker", {nullptr, nullptr}},
              {"feature_extractor", {nullptr, nullptr}},
              {"scheduler", {"diffusers", "EulerDiscreteScheduler"}},
              {"text_encoder", {"transformers", "CLIPTextModel"}},
              {"tokenizer", {"transformers", "CLIPTokenizer"}},
              {"unet", {"diffusers", "UNet2DConditionModel"}},
              {"vae", {"diffusers", "AutoencoderKL"}}} {}
};

namespace detail {
inline Config config_of(const nlohmann::ordered_json& json, const char* name) {
  return Config::parse(json.dump(), name);
}
}  // namespace detail

/// What the network makes of noise and prompts, with what the heads read.
struct Drawing {
  at::Tensor features;  ///< (N, 64, 8, 8), of the UNet, before the latents
  at::Tensor middle;    ///< (N, 64, 8, 8), of the decoder, behind the latents
  at::Tensor image;     ///< (N, 3, 64, 64), about [-1, 1]; undefined if it was not asked for
};

struct GeneratorNetwork {
  nn::CLIPTextModel text_encoder;
  nn::UNet2DConditionModel unet;
  nn::AutoencoderKLDecoder vae;
  schedulers::EulerDiscreteSteps steps;
  // Heads of the training.
  nn::Linear prompt_head;                 ///< end of text -> what the prompt says
  nn::Conv2d features_head, middle_head;  ///< -> shape and colour of the object at a cell
  nn::Conv2d coarse_head;                 ///< middle -> the 8x8 pixels of each cell

  GeneratorNetwork(const Parameters& parameters, const GeneratorFiles& files)
      : text_encoder(parameters / "text_encoder",
                     nn::CLIPTextConfig(detail::config_of(files.text_encoder, "text_encoder"))),
        unet(parameters / "unet", nn::UNet2DConditionConfig(detail::config_of(files.unet, "unet"))),
        vae(parameters / "vae", nn::AutoencoderKLConfig(detail::config_of(files.vae, "vae"))),
        steps(schedulers::EulerDiscreteScheduler(detail::config_of(files.scheduler, "scheduler"))
                  .set_timesteps(1)),
        prompt_head(parameters / "heads" / "prompt", 64, PromptClasses::count()),
        features_head(parameters / "heads" / "features", 64, shape_count + color_count, 1),
        middle_head(parameters / "heads" / "middle", 64, shape_count + color_count, 1),
        coarse_head(parameters / "heads" / "coarse", 64, 3 * 8 * 8, 1) {}

  at::Tensor read(const nn::TokenIds& ids) const { return text_encoder(ids).last_hidden_state; }

  /// The computation of a Stable Diffusion pipeline in one step.
  Drawing draw(const at::Tensor& noise, const at::Tensor& prompts, bool full) const {
    Drawing drawing;
    const auto time = unet.embed_time(steps.timesteps.front());
    const auto latents = schedulers::denoise(steps, noise, [&](const at::Tensor& input, std::size_t) {
      drawing.features = unet_features(input, time, prompts);
      return unet.conv_out(drawing.features);
    });
    const auto z = latents * (1 / 0.18215);
    drawing.middle = vae.mid_block(vae.conv_in((*vae.post_quant_conv)(z)));
    if (!full) return drawing;
    at::Tensor x = drawing.middle;
    for (const auto& block : vae.up_blocks) x = block(std::move(x));
    drawing.image = vae.conv_out(nn::norm_silu(vae.conv_norm_out, x));
    return drawing;
  }

  /// The picture as the 8x8 features have it.
  at::Tensor coarse(const Drawing& drawing) const {
    return at::pixel_shuffle(coarse_head(drawing.middle), 8);
  }

 private:
  /// What the UNet's last convolution reads.
  at::Tensor unet_features(const at::Tensor& sample, const at::Tensor& time,
                           const at::Tensor& prompts) const {
    const nn::UNetConditions conditions{at::silu(time), prompts};
    std::vector<at::Tensor> skips{unet.conv_in(sample)};
    at::Tensor x = skips.back();
    for (const auto& block : unet.down_blocks) x = block(std::move(x), conditions, skips);
    x = unet.mid_block(x, conditions);
    for (const auto& block : unet.up_blocks) x = block(std::move(x), conditions, skips);
    return nn::norm_silu(unet.conv_norm_out, x);
  }
};

}  // namespace reno::shapes
