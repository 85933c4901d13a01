// The denoiser of PixArt-α (Chen et al. 2023, arXiv:2310.00426; diffusers: PixArtTransformer2DModel): a
// transformer over patches of the latent image that attends to the prompt in every block and is told the time
// step by one modulation that all blocks share, each with an offset of its own.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/tensor.h>

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "reno/nn/checkpoint.hpp"
#include "reno/nn/modulation.hpp"
#include "reno/nn/pixart_transformer_config.hpp"
#include "reno/nn/sincos_position.hpp"
#include "reno/nn/timestep_embedding.hpp"
#include "reno/nn/token_ids.hpp"
#include "reno/nn/transformer_2d.hpp"

namespace reno::nn {

/// What the transformer sees beside the latents; all of it depends on nothing that is optimised.
struct PixArtTime {
  at::Tensor modulation;  ///< (1, 6, inner): shift, scale and gate of the attention, the same of the network
  at::Tensor embedding;   ///< (1, 1, inner), for the last layer
};

struct PixArtPrompt {
  at::Tensor caption;  ///< (N, tokens, inner), projected hidden states
  at::Tensor bias;     ///< (N, 1, 1, tokens), added to the attention's logits: -10000 hides padding
};

/// AdaLayerNormSingle: from the time step (and, for the 1024-pixel models, the image's size) to the
/// modulations.
struct PixArtTimeEmbedding {
  Timesteps time_proj{256, /*flip_sin_to_cos=*/true, /*freq_shift=*/0};
  TimestepEmbedding timestep_embedder;
  std::optional<TimestepEmbedding> resolution_embedder, aspect_ratio_embedder;
  Linear linear;

  PixArtTimeEmbedding(const Weights& w, const PixArtTransformerConfig& config)
      : timestep_embedder(w / "emb.timestep_embedder", time_proj.channels, config.inner_dim),
        linear(w / "linear", config.inner_dim, 6 * config.inner_dim) {
    if (!config.use_additional_conditions) return;
    const auto third = config.inner_dim / 3;
    resolution_embedder.emplace(w / "emb.resolution_embedder", time_proj.channels, third);
    aspect_ratio_embedder.emplace(w / "emb.aspect_ratio_embedder", time_proj.channels, third);
  }

  /// `height` and `width` are the image's in pixels.
  PixArtTime operator()(double timestep, std::int64_t height, std::int64_t width) const {
    const auto dtype = linear.weight.scalar_type();
    auto embedding = timestep_embedder(sinusoids({timestep}, at::kFloat));
    if (resolution_embedder) {
      const auto h = static_cast<double>(height), w = static_cast<double>(width);
      const auto resolution = (*resolution_embedder)(sinusoids({h, w}, dtype)).flatten().unsqueeze(0);
      embedding = embedding + at::cat({resolution, (*aspect_ratio_embedder)(sinusoids({h / w}, dtype))}, 1);
    }
    return {linear(at::silu(embedding)).unflatten(1, {6, -1}), embedding.unsqueeze(1)};
  }

 private:
  /// The numbers pass through a dtype, as in the reference.
  at::Tensor sinusoids(const std::vector<double>& numbers, at::ScalarType through) const {
    const auto rounded = at::tensor(numbers, at::kFloat).to(through);
    return time_proj(rounded.to(linear.weight.device())).to(linear.weight.scalar_type());
  }
};

struct PixArtTransformerBlock {
  at::Tensor scale_shift_table;  ///< (6, inner), added to the shared modulation
  LayerNorm norm;  ///< before self-attention and network; cross-attention takes its input as it is
  Attention attn1, attn2;
  TanhFeedForward ff;

  PixArtTransformerBlock(const Weights& w, const PixArtTransformerConfig& config)
      : scale_shift_table(w.get("scale_shift_table", {6, config.inner_dim})),
        norm(config.inner_dim, config.norm_eps),
        attn1(w / "attn1", attention(config)),
        attn2(w / "attn2", attention(config)),
        ff(w / "ff", config.inner_dim) {}

  at::Tensor operator()(at::Tensor x, const at::Tensor& modulation, const PixArtPrompt& prompt) const {
    const auto m = (scale_shift_table + modulation).chunk(6, 1);  // shift, scale, gate; shift, scale, gate
    const auto normed = modulated(norm(x), m[0], m[1]);
    x = gated(x, m[2], attn1(normed, normed));
    x = attn2(x, prompt.caption, prompt.bias) + x;
    return gated(x, m[5], ff(modulated(norm(x), m[3], m[4])));
  }

 private:
  static Attention::Settings attention(const PixArtTransformerConfig& config) {
    return {config.inner_dim, config.inner_dim, config.num_attention_heads,
            config.attention_bias ? Bias::yes : Bias::no};
  }
};

struct PixArtTransformer {
  std::int64_t patch_size;
  SincosGrid grid;
  Conv2d patches;
  PixArtTimeEmbedding adaln_single;
  Linear caption_1, caption_2;
  std::vector<PixArtTransformerBlock> blocks;
  LayerNorm norm_out;
  at::Tensor scale_shift_table;  ///< (2, inner)
  Linear proj_out;

  PixArtTransformer(const Weights& w, const PixArtTransformerConfig& config)
      : patch_size(config.patch_size),
        grid{config.sample_size / config.patch_size, config.interpolation_scale},
        patches(w / "pos_embed.proj", config.in_channels, config.inner_dim, patch_size, patch_size),
        adaln_single(w / "adaln_single", config),
        caption_1(w / "caption_projection.linear_1", config.caption_channels, config.inner_dim),
        caption_2(w / "caption_projection.linear_2", config.inner_dim, config.inner_dim),
        norm_out(config.inner_dim, 1e-6),
        scale_shift_table(w.get("scale_shift_table", {2, config.inner_dim})),
        proj_out(w / "proj_out", config.inner_dim, patch_size * patch_size * config.out_channels) {
    for (std::int64_t i = 0; i < config.num_layers; ++i)
      blocks.emplace_back(w / "transformer_blocks" / i, config);
  }

  /// Where the patches of latents of `height` times `width` are (1, patches, inner). Compute it once.
  at::Tensor embed_positions(std::int64_t height, std::int64_t width) const {
    const auto& weight = patches.weight;
    return grid(weight.size(0), height / patch_size, width / patch_size).unsqueeze(0).to(weight.options());
  }

  /// Hidden states of T5 (N, tokens, caption_channels) and the mask that T5 was given, 1 for a token.
  PixArtPrompt embed_prompt(const at::Tensor& states, const TokenIds& mask) const {
    const auto hidden = 1 - token_matrix(mask, 2, states.device()).to(states.scalar_type());
    return {caption_2(at::gelu(caption_1(states), "tanh")), (hidden * -10000.0).unsqueeze(1).unsqueeze(1)};
  }

  /// latents (N, in_channels, H, W) -> (N, out_channels, H, W).
  at::Tensor operator()(const at::Tensor& latents, const at::Tensor& positions, const PixArtTime& time,
                        const PixArtPrompt& prompt) const {
    auto x = embed_patches(latents, positions);
    for (const auto& block : blocks)
      x = checkpoint(recompute, x, [&block, modulation = time.modulation, prompt](const at::Tensor& in) {
        return block(in, modulation, prompt);
      });
    return unpatched(proj_out(last_norm(x, time.embedding)), latents.size(2), latents.size(3));
  }

  /// The first block's input (N, patches, inner).
  at::Tensor embed_patches(const at::Tensor& latents, const at::Tensor& positions) const {
    return patches(latents).flatten(2).transpose(1, 2) + positions;
  }

  bool recompute = false;  ///< blocks are computed again on the way back instead of keeping activations

 private:
  at::Tensor last_norm(const at::Tensor& x, const at::Tensor& time) const {
    const auto m = (scale_shift_table + time).chunk(2, 1);
    return modulated(norm_out(x), m[0], m[1]);
  }

  /// (N, patches, p · p · channels) -> (N, channels, height, width).
  at::Tensor unpatched(const at::Tensor& x, std::int64_t height, std::int64_t width) const {
    const auto p = patch_size;
    const auto pixels = x.reshape({x.size(0), height / p, width / p, p, p, -1}).permute({0, 5, 1, 3, 2, 4});
    return pixels.reshape({x.size(0), -1, height, width});
  }
};

}  // namespace reno::nn
