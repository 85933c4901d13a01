// CLIP (Radford et al. 2021, arXiv:2103.00020) as transformers names it: CLIPTextModel (the text encoder of
// Stable Diffusion, SDXL and FLUX), CLIPVisionModel, and CLIPModel, the pair of them (CLIPScore, PickScore).
// Both are pre-norm transformers: x += attention(norm(x)); x += mlp(norm(x)).
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/stack.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "reno/error.hpp"
#include "reno/nn/clip_config.hpp"
#include "reno/nn/modules.hpp"
#include "reno/nn/patch_embedding.hpp"
#include "reno/nn/token_ids.hpp"

namespace reno::nn {

struct CLIPAttention {
  std::int64_t heads;
  Linear q_proj, k_proj, v_proj, out_proj;

  CLIPAttention(const Weights& w, const CLIPEncoderConfig& config)
      : heads(config.num_attention_heads),
        q_proj(w / "q_proj", config.hidden_size, config.hidden_size),
        k_proj(w / "k_proj", config.hidden_size, config.hidden_size),
        v_proj(w / "v_proj", config.hidden_size, config.hidden_size),
        out_proj(w / "out_proj", config.hidden_size, config.hidden_size) {}

  at::Tensor operator()(const at::Tensor& x, bool causal) const { return (*this)(x, x, causal); }
  /// What `queries` (N, Q, hidden) find in x.
  at::Tensor operator()(const at::Tensor& queries, const at::Tensor& x, bool causal) const {
    return out_proj(attention(q_proj(queries), k_proj(x), v_proj(x), heads, {.causal = causal}));
  }
};

struct CLIPMLP {
  Linear fc1, fc2;
  Activation act;

  CLIPMLP(const Weights& w, const CLIPEncoderConfig& config)
      : fc1(w / "fc1", config.hidden_size, config.intermediate_size),
        fc2(w / "fc2", config.intermediate_size, config.hidden_size),
        act(activation(config.hidden_act)) {}

  at::Tensor operator()(const at::Tensor& x) const { return fc2(act(fc1(x))); }
};

struct CLIPEncoderLayer {
  LayerNorm layer_norm1;
  CLIPAttention self_attn;
  LayerNorm layer_norm2;
  CLIPMLP mlp;

  CLIPEncoderLayer(const Weights& w, const CLIPEncoderConfig& config)
      : layer_norm1(w / "layer_norm1", config.hidden_size, config.layer_norm_eps),
        self_attn(w / "self_attn", config),
        layer_norm2(w / "layer_norm2", config.hidden_size, config.layer_norm_eps),
        mlp(w / "mlp", config) {}

  at::Tensor operator()(const at::Tensor& x, bool causal) const {
    const auto attended = x + self_attn(layer_norm1(x), causal);
    return attended + mlp(layer_norm2(attended));
  }

  /// Of the first token alone, which sees all: (N, 1, hidden).
  at::Tensor first_token(const at::Tensor& x) const {
    const auto normed = layer_norm1(x);
    const auto attended = x.narrow(1, 0, 1) + self_attn(normed.narrow(1, 0, 1), normed, /*causal=*/false);
    return attended + mlp(layer_norm2(attended));
  }
};

namespace detail {
inline std::vector<CLIPEncoderLayer> clip_layers(const Weights& w, const CLIPEncoderConfig& config) {
  std::vector<CLIPEncoderLayer> layers;
  for (std::int64_t i = 0; i < config.num_hidden_layers; ++i) layers.emplace_back(w / i, config);
  return layers;
}
}  // namespace detail

struct CLIPTextOutput {
  at::Tensor last_hidden_state;  ///< (N, length, hidden), after the final LayerNorm
  at::Tensor penultimate;        ///< (N, length, hidden), transformers' hidden_states[-2]: SDXL's embedding
  at::Tensor pooled;             ///< (N, hidden), last_hidden_state at the end token
};

/// The text transformer with causal mask. A token never sees later ones, so that whatever stands behind the
/// end token (padding) changes nothing of what is pooled.
struct CLIPTextModel {
  Embedding token_embedding, position_embedding;
  std::vector<CLIPEncoderLayer> layers;
  LayerNorm final_layer_norm;
  std::int64_t eos_token_id;

  /// From a scope that holds `text_model`.
  CLIPTextModel(const Weights& w, const CLIPTextConfig& config)
      : token_embedding(w / "text_model.embeddings.token_embedding", config.vocab_size, config.hidden_size),
        position_embedding(w / "text_model.embeddings.position_embedding", config.max_position_embeddings,
                           config.hidden_size),
        layers(detail::clip_layers(w / "text_model.encoder.layers", config)),
        final_layer_norm(w / "text_model.final_layer_norm", config.hidden_size, config.layer_norm_eps),
        eos_token_id(config.eos_token_id) {}

  /// Throws LoadError when the ids do not fit this encoder: another tokenizer's.
  CLIPTextOutput operator()(const TokenIds& ids) const {
    at::Tensor x = embed(ids);
    at::Tensor penultimate;
    for (const auto& layer : layers) {
      penultimate = x;
      x = layer(x, /*causal=*/true);
    }
    x = final_layer_norm(x);
    std::vector<at::Tensor> pooled;
    for (std::size_t i = 0; i < ids.size(); ++i)
      pooled.push_back(x.select(0, static_cast<std::int64_t>(i)).select(0, end_position(ids[i])));
    return {x, penultimate, at::stack(pooled)};
  }

  /// Sum of token and position embeddings (N, length, hidden).
  at::Tensor embed(const TokenIds& ids) const {
    const auto length = static_cast<std::int64_t>(ids.empty() ? 0 : ids.front().size());
    if (length == 0 || length > position_embedding.weight.size(0))
      throw LoadError(fmt::format("a prompt of {} tokens, this text encoder has positions for 1 to {}",
                                  length, position_embedding.weight.size(0)));
    const auto& table = token_embedding.weight;
    return token_embedding(token_matrix(ids, table.size(0), table.device())) +
           position_embedding.weight.narrow(0, 0, length);
  }

  /// Where a prompt ends: the first end token, or, as old configurations that say `eos_token_id` 2 mean it,
  /// the largest id.
  std::int64_t end_position(const std::vector<std::int64_t>& row) const {
    const auto end = eos_token_id == 2 ? std::max_element(row.begin(), row.end())
                                       : std::find(row.begin(), row.end(), eos_token_id);
    if (end == row.end())
      throw LoadError(fmt::format("the text encoder's eos_token_id {} is not the end token of the tokenizer",
                                  eos_token_id));
    return end - row.begin();
  }
};

/// CLIPTextModel with a projection of the pooled output (SDXL's second encoder).
struct CLIPTextModelWithProjection {
  CLIPTextModel text_model;
  Linear text_projection;

  CLIPTextModelWithProjection(const Weights& w, const CLIPTextConfig& config)
      : text_model(w, config),
        text_projection(w / "text_projection", config.hidden_size, config.projection_dim, Bias::no) {}
};

/// The image transformer: a class token and one token per patch, all seeing each other.
struct CLIPVisionModel {
  at::Tensor class_embedding;  ///< (hidden)
  PatchEmbedding patch_embedding;
  Embedding position_embedding;
  LayerNorm pre_layrnorm;  ///< spelt as in the checkpoints
  std::vector<CLIPEncoderLayer> layers;
  LayerNorm post_layernorm;

  /// From a scope that holds `vision_model`.
  CLIPVisionModel(const Weights& w, const CLIPVisionConfig& config)
      : class_embedding(w.get("vision_model.embeddings.class_embedding", {config.hidden_size})),
        patch_embedding(w / "vision_model.embeddings.patch_embedding", config.num_channels,
                        config.hidden_size, config.patch_size, Bias::no),
        position_embedding(w / "vision_model.embeddings.position_embedding", config.num_patches() + 1,
                           config.hidden_size),
        pre_layrnorm(w / "vision_model.pre_layrnorm", config.hidden_size, config.layer_norm_eps),
        layers(detail::clip_layers(w / "vision_model.encoder.layers", config)),
        post_layernorm(w / "vision_model.post_layernorm", config.hidden_size, config.layer_norm_eps) {}

  /// Normalised pixels (N, 3, size, size) -> pooled output (N, hidden): the class token's, which is all that
  /// is wanted of the last layer.
  at::Tensor operator()(const at::Tensor& pixels) const {
    at::Tensor x = embed(pixels);
    for (std::size_t i = 0; i + 1 < layers.size(); ++i) x = layers[i](x, /*causal=*/false);
    return post_layernorm(layers.back().first_token(x).select(1, 0));
  }

  /// What the first layer sees (N, 1 + patches, hidden).
  at::Tensor embed(const at::Tensor& pixels) const {
    const auto patches = patch_embedding(pixels);
    const auto class_token = class_embedding.expand({patches.size(0), 1, -1});
    return pre_layrnorm(at::cat({class_token, patches}, 1) + position_embedding.weight);
  }
};

/// Both towers and their projections into the common space.
struct CLIPModel {
  CLIPTextModel text_model;
  CLIPVisionModel vision_model;
  Linear text_projection, visual_projection;
  at::Tensor logit_scale;  ///< scalar, log of the factor of the cosine, float32 or wider

  /// The two towers from scopes of their own, so that they can be on different devices.
  CLIPModel(const Weights& text, const Weights& vision, const CLIPConfig& config)
      : text_model(text, config.text_config),
        vision_model(vision, config.vision_config),
        text_projection(text / "text_projection", config.text_config.hidden_size, config.projection_dim,
                        Bias::no),
        visual_projection(vision / "visual_projection", config.vision_config.hidden_size,
                          config.projection_dim, Bias::no),
        logit_scale(
            vision.as(vision.dtype() == at::kDouble ? at::kDouble : at::kFloat).get("logit_scale", {})) {}
  CLIPModel(const Weights& w, const CLIPConfig& config) : CLIPModel(w, w, config) {}

  /// (N, projection_dim), not normalised.
  at::Tensor get_text_features(const TokenIds& ids) const { return text_projection(text_model(ids).pooled); }

  /// Normalised pixels (N, 3, size, size) -> (N, projection_dim), not normalised.
  at::Tensor get_image_features(const at::Tensor& pixels) const {
    return visual_projection(vision_model(pixels));
  }
};

}  // namespace reno::nn
