// The denoiser of FLUX.1 schnell (Black Forest Labs 2024; diffusers: FluxTransformer2DModel): a transformer
// over the tokens of text and image that predicts the velocity of a rectified flow.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include <cstdint>
#include <vector>

#include "reno/nn/flux_transformer_blocks.hpp"
#include "reno/nn/timestep_embedding.hpp"

namespace reno::nn {

struct FluxTransformer {
  std::vector<std::int64_t> axes_dims_rope;
  Timesteps time_proj{256, /*flip_sin_to_cos=*/true, /*freq_shift=*/0};
  TimestepEmbedding timestep_embedder, text_embedder;
  Linear context_embedder, x_embedder;
  std::vector<FluxDoubleBlock> transformer_blocks;
  std::vector<FluxSingleBlock> single_transformer_blocks;
  LayerNorm norm_out;
  Linear norm_out_linear;
  Linear proj_out;

  FluxTransformer(const Weights& w, const FluxTransformerConfig& config)
      : axes_dims_rope(config.axes_dims_rope),
        timestep_embedder(w / "time_text_embed.timestep_embedder", time_proj.channels, config.inner_dim()),
        text_embedder(w / "time_text_embed.text_embedder", config.pooled_projection_dim, config.inner_dim()),
        context_embedder(w / "context_embedder", config.joint_attention_dim, config.inner_dim()),
        x_embedder(w / "x_embedder", config.in_channels, config.inner_dim()),
        norm_out(config.inner_dim(), 1e-6),
        norm_out_linear(w / "norm_out.linear", config.inner_dim(), 2 * config.inner_dim()),
        proj_out(w / "proj_out", config.inner_dim(), config.in_channels) {
    for (std::int64_t i = 0; i < config.num_layers; ++i)
      transformer_blocks.emplace_back(w / "transformer_blocks" / i, config);
    for (std::int64_t i = 0; i < config.num_single_layers; ++i)
      single_transformer_blocks.emplace_back(w / "single_transformer_blocks" / i, config);
  }

  /// Where the tokens are: text at the origin, the image's on a grid. Compute it once.
  at::Tensor embed_positions(std::int64_t text_tokens, std::int64_t rows, std::int64_t columns) const {
    const at::TensorOptions options(at::kDouble);
    const auto row = at::arange(rows, options).unsqueeze(1).expand({-1, columns});
    const auto column = at::arange(columns, options).unsqueeze(0).expand({rows, -1});
    const auto image = at::stack({at::zeros({rows, columns}, options), row, column}, -1).flatten(0, 1);
    const auto turns = rotary_turns(at::cat({at::zeros({text_tokens, 3}, options), image}), axes_dims_rope);
    const auto& weight = x_embedder.weight;
    const bool exact = weight.scalar_type() == at::kDouble;
    return turns.to(exact ? at::kComplexDouble : at::kComplexFloat).to(weight.device());
  }

  /// The time step, from 1000 (noise) to 0, and CLIP's pooled state (N, pooled_projection_dim) -> (N, inner).
  at::Tensor embed_time_and_text(double timestep, const at::Tensor& pooled) const {
    // It passes through the network's dtype as a fraction of 1, which rounds it in half precision.
    const auto given = at::full({1}, timestep, at::kFloat).to(pooled.scalar_type()) / 1000 * 1000;
    const auto sinusoids = time_proj(given.to(pooled.device())).to(pooled.scalar_type());
    return timestep_embedder(sinusoids) + text_embedder(pooled);
  }

  /// Velocity (N, image tokens, in_channels) of packed latents of that shape. `text` (N, text tokens, inner)
  /// is context_embedder of T5's states, `embedding` from `embed_time_and_text`, `positions` from
  /// `embed_positions`.
  at::Tensor operator()(const at::Tensor& latents, const at::Tensor& text, const at::Tensor& embedding,
                        const at::Tensor& positions) const {
    const FluxConditions conditions{at::silu(embedding), positions};
    FluxStates states{text, x_embedder(latents)};
    for (const auto& block : transformer_blocks) states = block(states, conditions);
    auto x = at::cat({states.text, states.image}, 1);
    for (const auto& block : single_transformer_blocks) x = block(x, conditions);
    return proj_out(last_norm(x.narrow(1, text.size(1), latents.size(1)), conditions));
  }

  /// Here, unlike in the blocks, the scale comes before the shift.
  at::Tensor last_norm(const at::Tensor& x, const FluxConditions& conditions) const {
    const auto m = detail::modulations(norm_out_linear, conditions, 2);
    return modulated(norm_out(x), m[1], m[0]);
  }
};

}  // namespace reno::nn
