// The decoder of the latent autoencoder of Stable Diffusion, SDXL, PixArt and FLUX (Rombach et al. 2022;
// diffusers: AutoencoderKL). The encoder half of a checkpoint is left alone.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "reno/io/supported_config.hpp"
#include "reno/nn/checkpoint.hpp"
#include "reno/nn/resnet.hpp"
#include "reno/nn/transformer_2d.hpp"

namespace reno::nn {

/// The decoder's part of the `config.json` of an AutoencoderKL.
struct AutoencoderKLConfig {
  std::int64_t latent_channels;
  std::int64_t out_channels;
  std::vector<std::int64_t> block_out_channels;  ///< from the finest to the coarsest
  std::int64_t layers_per_block;
  std::int64_t norm_num_groups;
  bool mid_block_add_attention;
  bool use_post_quant_conv;
  double scaling_factor;  ///< latents of the diffusion model = scaling_factor · (z - shift_factor)
  std::optional<double> shift_factor;

  /// Throws LoadError naming file and key. Defaults are diffusers'. `force_upcast` and `latents_mean/std` do
  /// not concern the published one-step pipelines, which ignore them too.
  explicit AutoencoderKLConfig(const Config& config)
      : latent_channels(config.size("latent_channels", 4)),
        out_channels(config.size("out_channels", 3)),
        block_out_channels(config.get<std::vector<std::int64_t>>(
            "block_out_channels", std::vector<std::int64_t>{64}, bounds{1, 1 << 16})),
        layers_per_block(config.size("layers_per_block", 1)),
        norm_num_groups(config.size("norm_num_groups", 32)),
        mid_block_add_attention(config.get<bool>("mid_block_add_attention", true)),
        use_post_quant_conv(config.get<bool>("use_post_quant_conv", true)),
        scaling_factor(config.get<double>("scaling_factor", 0.18215, bounds{1e-6, 1e6})) {
    if (config.has("shift_factor")) shift_factor = config.get<double>("shift_factor");
    require_supported(config, {{"act_fn", R"("silu")"}});
    require_divisible(config, "block_out_channels", block_out_channels, norm_num_groups, "norm_num_groups");
    const auto types = config.get<std::vector<std::string>>("up_block_types");
    if (block_out_channels.empty() || block_out_channels.size() > 16 ||
        types.size() != block_out_channels.size())
      throw LoadError(fmt::format("{} has {} elements, expected 1 to 16, as many as in up_block_types ({})",
                                  config.where("block_out_channels"), block_out_channels.size(),
                                  types.size()));
    for (const auto& type : types)
      if (type != "UpDecoderBlock2D")
        throw LoadError(fmt::format("{} has the unknown block '{}', expected UpDecoderBlock2D",
                                    config.where("up_block_types"), type));
  }

  /// Image pixels per latent pixel along a side.
  std::int64_t scale_factor() const { return std::int64_t{1} << (block_out_channels.size() - 1); }
};

/// Single-head self-attention over the pixels, added to the input.
struct PixelAttention {
  GroupNorm group_norm;
  Attention attention;

  PixelAttention(const Weights& w, std::int64_t channels, const ResnetBlock2D::Settings& settings)
      : group_norm(w / "group_norm", channels, settings.norm_groups, settings.norm_eps),
        attention(new_names(w), {channels, channels, 1, Bias::yes}) {}

  at::Tensor operator()(const at::Tensor& x) const {
    const auto tokens = group_norm(x).flatten(2).transpose(1, 2);
    return attention(tokens, tokens).transpose(1, 2).unflatten(2, {x.size(2), x.size(3)}) + x;
  }

 private:
  /// Checkpoints from before diffusers 0.12 call the projections query, key, value and proj_attn.
  static Weights new_names(const Weights& w) {
    if (w.has("to_q.weight") || !w.has("query.weight")) return w;
    return w.renamed([](std::string name) {
      using Name = std::pair<const char*, const char*>;
      for (const auto& [now, then] : {Name{".to_q.", ".query."}, Name{".to_k.", ".key."},
                                      Name{".to_v.", ".value."}, Name{".to_out.0.", ".proj_attn."}})
        if (const auto at = name.rfind(now); at != std::string::npos)
          return name.replace(at, std::string(now).size(), then);
      return name;
    });
  }
};

/// UNetMidBlock2D: the coarsest level.
struct DecoderMidBlock2D {
  ResnetBlock2D first;
  std::optional<PixelAttention> attention;
  ResnetBlock2D last;

  DecoderMidBlock2D(const Weights& w, std::int64_t channels, const ResnetBlock2D::Settings& settings,
                    bool add_attention)
      : first(w / "resnets" / 0, channels, channels, settings),
        last(w / "resnets" / 1, channels, channels, settings) {
    if (add_attention) attention.emplace(w / "attentions" / 0, channels, settings);
  }

  at::Tensor operator()(const at::Tensor& x) const {
    auto hidden = first(x);
    if (attention) hidden = (*attention)(hidden);
    return last(hidden);
  }
};

struct UpDecoderBlock2D {
  std::vector<ResnetBlock2D> resnets;
  std::optional<Upsample2D> upsampler;

  UpDecoderBlock2D(const Weights& w, std::int64_t in, std::int64_t out, std::int64_t layers,
                   const ResnetBlock2D::Settings& settings, bool add_upsampler) {
    for (std::int64_t i = 0; i < layers; ++i, in = out)
      resnets.emplace_back(w / "resnets" / i, in, out, settings);
    if (add_upsampler) upsampler.emplace(w / "upsamplers" / 0, out);
  }

  /// `recompute`: resnet by resnet, see `checkpoint`.
  at::Tensor operator()(at::Tensor x, bool recompute = false) const {
    for (const auto& resnet : resnets)
      x = checkpoint(recompute, x, [&resnet](const at::Tensor& in) { return resnet(in); });
    return upsampler ? (*upsampler)(x) : x;
  }
};

/// Latents to pixels.
struct AutoencoderKLDecoder {
  std::optional<Conv2d> post_quant_conv;
  Conv2d conv_in;
  DecoderMidBlock2D mid_block;
  std::vector<UpDecoderBlock2D> up_blocks;
  GroupNorm conv_norm_out;
  Conv2d conv_out;

  /// `w` is the root of an AutoencoderKL's checkpoint.
  AutoencoderKLDecoder(const Weights& w, const AutoencoderKLConfig& config)
      : AutoencoderKLDecoder(w, w / "decoder", config, {config.norm_num_groups, 1e-6}) {}

  /// z (N, latent_channels, h, w) as the encoder makes it, not scaled -> (N, out_channels, H, W), about [-1,
  /// 1].
  at::Tensor operator()(const at::Tensor& z) const {
    const auto latents = laid_out(z, FeatureMaps::of_decoder);
    auto x = conv_in(post_quant_conv ? (*post_quant_conv)(latents) : latents);
    x = checkpoint(recompute, x, [this](const at::Tensor& in) { return mid_block(in); });
    for (const auto& block : up_blocks) x = block(std::move(x), recompute);
    x = checkpoint(recompute, x,
                   [this](const at::Tensor& in) { return conv_out(norm_silu(conv_norm_out, in)); });
    return x.contiguous();
  }

  bool recompute = false;  ///< blocks are computed again on the way back instead of keeping activations

  /// Beginnings of the names in a checkpoint that are the encoder's.
  static std::vector<std::string> encoder_names() { return {"encoder.", "quant_conv."}; }

 private:
  AutoencoderKLDecoder(const Weights& w, const Weights& decoder, const AutoencoderKLConfig& config,
                       const ResnetBlock2D::Settings& settings)
      : conv_in(decoder / "conv_in", config.latent_channels, config.block_out_channels.back(), 3, 1, 1),
        mid_block(decoder / "mid_block", config.block_out_channels.back(), settings,
                  config.mid_block_add_attention),
        conv_norm_out(decoder / "conv_norm_out", config.block_out_channels.front(), settings.norm_groups,
                      settings.norm_eps),
        conv_out(decoder / "conv_out", config.block_out_channels.front(), config.out_channels, 3, 1, 1) {
    if (config.use_post_quant_conv)
      post_quant_conv.emplace(w / "post_quant_conv", config.latent_channels, config.latent_channels, 1);
    const auto levels = static_cast<std::int64_t>(config.block_out_channels.size());
    std::int64_t in = config.block_out_channels.back();
    for (std::int64_t i = 0; i < levels; ++i) {
      const std::int64_t out = config.block_out_channels[static_cast<std::size_t>(levels - 1 - i)];
      up_blocks.emplace_back(decoder / "up_blocks" / i, in, out, config.layers_per_block + 1, settings,
                             i + 1 < levels);
      in = out;
    }
  }
};

/// What a decoder returns, about [-1, 1], as an image in [0, 1]. The gradient passes inside the bounds and on
/// them.
inline at::Tensor to_image(const at::Tensor& decoded) { return (decoded / 2 + 0.5).clamp(0, 1); }

}  // namespace reno::nn
