// The two kinds of blocks of FLUX.1's transformer (Esser et al. 2024, arXiv:2403.03206; diffusers:
// transformer_flux.py). In both, text and image attend to each other as one sequence, text first; in the
// double blocks each has weights of its own, in the single blocks they share them, and attention and
// feed-forward network run side by side.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/gelu.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "reno/nn/flux_modulation.hpp"
#include "reno/nn/flux_transformer_config.hpp"
#include "reno/nn/modulation.hpp"
#include "reno/nn/modules.hpp"
#include "reno/nn/rotary_embedding.hpp"

namespace reno::nn {

namespace detail {
/// What overflows float16 is brought back to its largest number, as in the reference.
inline at::Tensor finite_flux(const at::Tensor& x) {
  return x.scalar_type() == at::kHalf ? at::clamp(x, -65504, 65504) : x;
}
}  // namespace detail

/// Queries, keys and values of one sequence; queries and keys normalised per head.
struct FluxProjections {
  Linear q, k, v;
  RMSNorm norm_q, norm_k;
  std::int64_t heads;

  /// Checkpoint names of q, k, v and the two norms.
  using Names = std::array<std::string_view, 5>;
  static constexpr Names image{"to_q", "to_k", "to_v", "norm_q", "norm_k"};
  static constexpr Names text{"add_q_proj", "add_k_proj", "add_v_proj", "norm_added_q", "norm_added_k"};

  FluxProjections(const Weights& w, const FluxTransformerConfig& config, const Names& names)
      : q(w / names[0], config.inner_dim(), config.inner_dim()),
        k(w / names[1], config.inner_dim(), config.inner_dim()),
        v(w / names[2], config.inner_dim(), config.inner_dim()),
        norm_q(w / names[3], config.attention_head_dim, 1e-6),
        norm_k(w / names[4], config.attention_head_dim, 1e-6),
        heads(config.num_attention_heads) {}

  /// (N, tokens, heads, head).
  at::Tensor query(const at::Tensor& x) const { return norm_q(q(x).unflatten(-1, {heads, -1})); }
  at::Tensor key(const at::Tensor& x) const { return norm_k(k(x).unflatten(-1, {heads, -1})); }
};

namespace detail {
/// Attention with turned queries and keys (N, tokens, heads, head), value (N, tokens, inner).
inline at::Tensor rotary_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                                   const at::Tensor& turns) {
  return attention(rotated(query, turns).flatten(2), rotated(key, turns).flatten(2), value, query.size(2));
}
}  // namespace detail

/// The text's or the image's half of a double block.
struct FluxStream {
  LayerNorm norm;
  FluxProjections attn;
  Linear out;
  TanhFeedForward ff;

  struct Names {
    const char *out, *ff;
    const FluxProjections::Names& attn;
  };

  FluxStream(const Weights& w, const FluxTransformerConfig& config, const Names& names)
      : norm(config.inner_dim(), 1e-6),
        attn(w / "attn", config, names.attn),
        out(w / "attn" / names.out, config.inner_dim(), config.inner_dim()),
        ff(w / names.ff, config.inner_dim()) {}

  /// The attention's input.
  at::Tensor normed(const at::Tensor& x, const FluxModulation::Layer& m) const {
    return modulated(norm(x), m[0], m[1]);
  }

  /// What follows the attention.
  at::Tensor update(const at::Tensor& x, const at::Tensor& attended, const FluxModulation::Layer& m) const {
    const auto y = gated(x, m[2], out(attended));
    return gated(y, m[5], ff(modulated(norm(y), m[3], m[4])));
  }
};

struct FluxStates {
  at::Tensor text;   ///< (N, text tokens, inner)
  at::Tensor image;  ///< (N, image tokens, inner)
};

/// diffusers: FluxTransformerBlock.
struct FluxDoubleBlock {
  FluxStream text, image;

  FluxDoubleBlock(const Weights& w, const FluxTransformerConfig& config)
      : text(w, config, {"to_add_out", "ff_context", FluxProjections::text}),
        image(w, config, {"to_out.0", "ff", FluxProjections::image}) {}

  /// `turns`: rotary_turns of the text's and the image's tokens.
  FluxStates operator()(const FluxStates& x, const FluxModulation::DoubleBlock& m,
                        const at::Tensor& turns) const {
    const auto attended = attend(text.normed(x.text, m.text), image.normed(x.image, m.image), turns);
    return {detail::finite_flux(text.update(x.text, attended.text, m.text)),
            image.update(x.image, attended.image, m.image)};
  }

 private:
  FluxStates attend(const at::Tensor& t, const at::Tensor& i, const at::Tensor& turns) const {
    const auto both = detail::rotary_attention(at::cat({text.attn.query(t), image.attn.query(i)}, 1),
                                               at::cat({text.attn.key(t), image.attn.key(i)}, 1),
                                               at::cat({text.attn.v(t), image.attn.v(i)}, 1), turns);
    return {both.narrow(1, 0, t.size(1)), both.narrow(1, t.size(1), i.size(1))};
  }
};

/// diffusers: FluxSingleTransformerBlock.
struct FluxSingleBlock {
  LayerNorm norm;
  FluxProjections attn;
  Linear proj_mlp;
  Linear proj_out;

  FluxSingleBlock(const Weights& w, const FluxTransformerConfig& config)
      : norm(config.inner_dim(), 1e-6),
        attn(w / "attn", config, FluxProjections::image),
        proj_mlp(w / "proj_mlp", config.inner_dim(), 4 * config.inner_dim()),
        proj_out(w / "proj_out", 5 * config.inner_dim(), config.inner_dim()) {}

  /// x (N, text and image tokens, inner).
  at::Tensor operator()(const at::Tensor& x, const FluxModulation::Layer& m, const at::Tensor& turns) const {
    const auto normed = modulated(norm(x), m[0], m[1]);
    const auto attended =
        detail::rotary_attention(attn.query(normed), attn.key(normed), attn.v(normed), turns);
    const auto update = proj_out(at::cat({attended, at::gelu(proj_mlp(normed), "tanh")}, -1));
    return detail::finite_flux(gated(x, m[2], update));
  }
};

}  // namespace reno::nn
