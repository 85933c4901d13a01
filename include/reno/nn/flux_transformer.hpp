// The denoiser of FLUX.1 schnell (Black Forest Labs 2024; diffusers: FluxTransformer2DModel): a transformer
// over the tokens of text and image that predicts the velocity of a rectified flow. Its layers are modulated
// by time step and prompt (flux_modulation.hpp).
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "reno/nn/checkpoint.hpp"
#include "reno/nn/flux_modulation.hpp"
#include "reno/nn/flux_transformer_blocks.hpp"

namespace reno::nn {

struct FluxTransformer {
  std::vector<std::int64_t> axes_dims_rope;
  Linear context_embedder, x_embedder;
  std::vector<FluxDoubleBlock> transformer_blocks;
  std::vector<FluxSingleBlock> single_transformer_blocks;
  LayerNorm norm_out;
  Linear proj_out;

  /// `w` is the root of a FluxTransformer2DModel's checkpoint, of which FluxModulator takes the rest.
  FluxTransformer(const Weights& w, const FluxTransformerConfig& config)
      : axes_dims_rope(config.axes_dims_rope),
        context_embedder(w / "context_embedder", config.joint_attention_dim, config.inner_dim()),
        x_embedder(w / "x_embedder", config.in_channels, config.inner_dim()),
        norm_out(config.inner_dim(), 1e-6),
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

  /// Velocity (N, image tokens, in_channels) of packed latents of that shape. `text` (N, text tokens, inner)
  /// is context_embedder of T5's states, `positions` from `embed_positions`.
  at::Tensor operator()(const at::Tensor& latents, const at::Tensor& text, const FluxModulation& modulation,
                        const at::Tensor& positions) const {
    std::vector<at::Tensor> states{text, x_embedder(latents)};
    for (std::size_t i = 0; i < transformer_blocks.size(); ++i)
      states = checkpoint(recompute, states,
                          [&block = transformer_blocks[i], m = modulation.double_blocks[i],
                           positions](const std::vector<at::Tensor>& in) {
                            const auto out = block({in[0], in[1]}, m, positions);
                            return std::vector{out.text, out.image};
                          });
    auto x = at::cat(states, 1);
    for (std::size_t i = 0; i < single_transformer_blocks.size(); ++i)
      x = checkpoint(recompute, x,
                     [&block = single_transformer_blocks[i], m = modulation.single_blocks[i],
                      positions](const at::Tensor& in) { return block(in, m, positions); });
    return proj_out(last_norm(x.narrow(1, text.size(1), latents.size(1)), modulation));
  }

  at::Tensor last_norm(const at::Tensor& x, const FluxModulation& modulation) const {
    return modulated(norm_out(x), modulation.out[1], modulation.out[0]);
  }

  bool recompute = false;  ///< blocks are computed again on the way back instead of keeping activations
};

}  // namespace reno::nn
