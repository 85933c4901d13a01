// The transformer inside a latent-diffusion UNet (Rombach et al. 2022, appendix E; diffusers:
// Transformer2DModel): every pixel attends to all the others, then to the prompt's tokens.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/gelu.h>

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "reno/nn/modules.hpp"

namespace reno::nn {

/// Multi-head attention with its projections (diffusers: Attention). x (N, Q, query_size), context (N, K,
/// context_size) -> (N, Q, query_size).
struct Attention {
  struct Settings {
    std::int64_t query_size;
    std::int64_t context_size;
    std::int64_t heads;
    Bias bias = Bias::no;  ///< of the three input projections
    bool upcast = false;   ///< attend in float32 whatever the dtype
  };

  Linear to_q;
  Linear to_k;
  Linear to_v;
  Linear to_out;
  std::int64_t heads;
  bool upcast;

  Attention(const Weights& w, const Settings& settings)
      : to_q(w / "to_q", settings.query_size, settings.query_size, settings.bias),
        to_k(w / "to_k", settings.context_size, settings.query_size, settings.bias),
        to_v(w / "to_v", settings.context_size, settings.query_size, settings.bias),
        to_out(w / "to_out" / 0, settings.query_size, settings.query_size),
        heads(settings.heads),
        upcast(settings.upcast) {}

  /// `mask` is added to the logits and broadcasts to (N, heads, Q, K); undefined: everything is seen.
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& context, const at::Tensor& mask = {}) const {
    const auto query = to_q(x), key = to_k(context), value = to_v(context);
    if (!upcast || x.scalar_type() == at::kDouble)
      return to_out(attention(query, key, value, heads, {.mask = mask}));
    const auto mixed = attention(query.to(at::kFloat), key.to(at::kFloat), value.to(at::kFloat), heads,
                                 {.mask = mask.defined() ? mask.to(at::kFloat) : mask});
    return to_out(mixed.to(x.scalar_type()));
  }
};

/// Gated feed-forward network W2 (a · gelu(b)), (a, b) = W1 x (Shazeer 2020: GEGLU), four times as wide
/// inside.
struct FeedForward {
  Linear proj;
  Linear out;

  FeedForward(const Weights& w, std::int64_t size)
      : proj(w / "net.0.proj", size, 8 * size), out(w / "net.2", 4 * size, size) {}

  at::Tensor operator()(const at::Tensor& x) const {
    const auto halves = proj(x).chunk(2, -1);
    return out(halves[0] * at::gelu(halves[1]));
  }
};

/// Self-attention, attention to the prompt, feed-forward; each on the normalised input and added to it.
struct BasicTransformerBlock {
  LayerNorm norm1;
  Attention attn1;
  LayerNorm norm2;
  Attention attn2;
  LayerNorm norm3;
  FeedForward ff;

  BasicTransformerBlock(const Weights& w, const Attention::Settings& cross)
      : norm1(w / "norm1", cross.query_size, 1e-5),
        attn1(w / "attn1", self_attention(cross)),
        norm2(w / "norm2", cross.query_size, 1e-5),
        attn2(w / "attn2", cross),
        norm3(w / "norm3", cross.query_size, 1e-5),
        ff(w / "ff", cross.query_size) {}

  at::Tensor operator()(at::Tensor x, const at::Tensor& prompt) const {
    const auto normed = norm1(x);
    x = attn1(normed, normed) + x;
    x = attn2(norm2(x), prompt) + x;
    return ff(norm3(x)) + x;
  }

 private:
  static Attention::Settings self_attention(Attention::Settings settings) {
    settings.context_size = settings.query_size;
    return settings;
  }
};

/// Transformer over the pixels of a feature map, added to it. x (N, channels, H, W), prompt (N, tokens,
/// context_size).
struct Transformer2DModel {
  struct Settings {
    std::int64_t layers;
    std::int64_t norm_groups;
    bool linear_projection;  ///< else proj_in and proj_out are 1x1 convolutions: the same sums, other shapes
    Attention::Settings attention;
  };

  GroupNorm norm;
  Linear proj_in;
  std::vector<BasicTransformerBlock> transformer_blocks;
  Linear proj_out;

  Transformer2DModel(const Weights& w, const Settings& settings)
      : norm(w / "norm", settings.attention.query_size, settings.norm_groups, 1e-6),
        proj_in(projection(w / "proj_in", settings)),
        proj_out(projection(w / "proj_out", settings)) {
    for (std::int64_t i = 0; i < settings.layers; ++i)
      transformer_blocks.emplace_back(w / "transformer_blocks" / i, settings.attention);
  }

  at::Tensor operator()(const at::Tensor& x, const at::Tensor& prompt) const {
    auto tokens = proj_in(norm(x).flatten(2).transpose(1, 2));
    for (const auto& block : transformer_blocks) tokens = block(std::move(tokens), prompt);
    return proj_out(tokens).transpose(1, 2).unflatten(2, {x.size(2), x.size(3)}) + x;
  }

 private:
  static Linear projection(const Weights& w, const Settings& settings) {
    const std::int64_t size = settings.attention.query_size;
    if (settings.linear_projection) return Linear(w, size, size);
    const auto matrix = [size](const at::Tensor& kernel) { return kernel.view({size, size}); };
    return Linear(w.derive("weight", {size, size, 1, 1}, matrix), w.get("bias", {size}));
  }
};

}  // namespace reno::nn
