// How FLUX is told the time step and CLIP's pooled state of the prompt: they become shifts, scales and gates
// of every layer. This takes a quarter of the transformer's weights but depends on nothing that is optimised,
// so it is computed once per prompt, and its weights need not stay on the device.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/full.h>
#include <ATen/ops/silu.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "reno/nn/flux_transformer_config.hpp"
#include "reno/nn/modules.hpp"
#include "reno/nn/timestep_embedding.hpp"

namespace reno::nn {

/// What every layer of the transformer is given, each tensor (N, 1, inner).
struct FluxModulation {
  using Layer = std::vector<at::Tensor>;

  /// Shift, scale and gate of the attention, then those of the network.
  struct DoubleBlock {
    Layer text;
    Layer image;
  };

  std::vector<DoubleBlock> double_blocks;
  std::vector<Layer> single_blocks;  ///< shift, scale, gate
  Layer out;                         ///< here the scale comes before the shift
};

struct FluxModulator {
  struct DoubleBlock {
    Linear text;
    Linear image;
  };

  Timesteps time_proj{256, /*flip_sin_to_cos=*/true, /*freq_shift=*/0};
  TimestepEmbedding timestep_embedder, text_embedder;
  std::vector<DoubleBlock> double_blocks;
  std::vector<Linear> single_blocks;
  Linear out;

  /// `w` is the root of a FluxTransformer2DModel's checkpoint, of which FluxTransformer takes the rest.
  FluxModulator(const Weights& w, const FluxTransformerConfig& config)
      : timestep_embedder(w / "time_text_embed.timestep_embedder", time_proj.channels, config.inner_dim()),
        text_embedder(w / "time_text_embed.text_embedder", config.pooled_projection_dim, config.inner_dim()),
        out(w / "norm_out.linear", config.inner_dim(), 2 * config.inner_dim()) {
    const auto size = config.inner_dim();
    for (std::int64_t i = 0; i < config.num_layers; ++i) {
      const auto block = w / "transformer_blocks" / i;
      double_blocks.push_back({Linear(block / "norm1_context.linear", size, 6 * size),
                               Linear(block / "norm1.linear", size, 6 * size)});
    }
    for (std::int64_t i = 0; i < config.num_single_layers; ++i)
      single_blocks.emplace_back(w / "single_transformer_blocks" / i / "norm.linear", size, 3 * size);
  }

  /// The time step runs from 1000 (noise) to 0; `pooled` (N, pooled_projection_dim).
  FluxModulation operator()(double timestep, const at::Tensor& pooled) const {
    const auto condition = at::silu(embed(timestep, pooled)).unsqueeze(1);
    const auto layer = [&](const Linear& linear, std::int64_t count) {
      return linear(condition).chunk(count, -1);
    };
    FluxModulation modulation;
    for (const auto& [text, image] : double_blocks)
      modulation.double_blocks.push_back({layer(text, 6), layer(image, 6)});
    for (const auto& linear : single_blocks) modulation.single_blocks.push_back(layer(linear, 3));
    modulation.out = layer(out, 2);
    return modulation;
  }

  /// (N, inner). The time step passes through the network's dtype as a fraction of 1, which rounds it in half
  /// precision, as in the reference.
  at::Tensor embed(double timestep, const at::Tensor& pooled) const {
    const auto given = at::full({1}, timestep, at::kFloat).to(pooled.scalar_type()) / 1000 * 1000;
    const auto sinusoids = time_proj(given.to(pooled.device())).to(pooled.scalar_type());
    return timestep_embedder(sinusoids) + text_embedder(pooled);
  }
};

}  // namespace reno::nn
