// BERT (Devlin et al. 2019) with cross-attention to an image in every layer, as BLIP reads a prompt while it
// looks (Li et al. 2022, arXiv:2201.12086). Post-norm: x = norm(x + sublayer(x)). Names are transformers'.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "reno/error.hpp"
#include "reno/io/config.hpp"
#include "reno/nn/modules.hpp"

namespace reno::nn {

/// `med_config.json` of a BLIP checkpoint. Its `encoder_width` is not read: BLIP replaces it by the image
/// encoder's.
struct BertConfig {
  std::int64_t hidden_size;
  std::int64_t intermediate_size;
  std::int64_t num_hidden_layers;
  std::int64_t num_attention_heads;
  std::int64_t max_position_embeddings;
  std::int64_t vocab_size;
  std::string hidden_act;
  double layer_norm_eps;
  std::int64_t encoder_width;  ///< of the image tokens

  BertConfig(const Config& config, std::int64_t encoder_width)
      : hidden_size(config.size("hidden_size", 768)),
        intermediate_size(config.size("intermediate_size", 3072)),
        num_hidden_layers(config.size("num_hidden_layers", 12, 1000)),
        num_attention_heads(config.size("num_attention_heads", 12)),
        max_position_embeddings(config.size("max_position_embeddings", 512)),
        vocab_size(config.size("vocab_size", 30522, 10'000'000)),
        hidden_act(config.get("hidden_act", "gelu")),
        layer_norm_eps(config.get("layer_norm_eps", 1e-12, bounds{0.0, 1.0})),
        encoder_width(encoder_width) {
    if (hidden_size % num_attention_heads != 0)
      throw LoadError(fmt::format("{} = {} does not divide hidden_size = {}",
                                  config.where("num_attention_heads"), num_attention_heads, hidden_size));
  }
};

/// Attention of the text to `context` (itself or the image), with the residual and its norm.
struct BertAttention {
  std::int64_t heads;
  Linear query, key, value, dense;
  LayerNorm norm;

  BertAttention(const Weights& w, const BertConfig& config, std::int64_t context_width)
      : heads(config.num_attention_heads),
        query(w / "self.query", config.hidden_size, config.hidden_size),
        key(w / "self.key", context_width, config.hidden_size),
        value(w / "self.value", context_width, config.hidden_size),
        dense(w / "output.dense", config.hidden_size, config.hidden_size),
        norm(w / "output.LayerNorm", config.hidden_size, config.layer_norm_eps) {}

  at::Tensor operator()(const at::Tensor& x, const at::Tensor& context, const at::Tensor& mask = {}) const {
    return norm(dense(attention(query(x), key(context), value(context), heads, {.mask = mask})) + x);
  }
};

struct BertLayer {
  BertAttention self_attention, cross_attention;
  Linear intermediate, output;
  LayerNorm norm;
  Activation act;

  BertLayer(const Weights& w, const BertConfig& config)
      : self_attention(w / "attention", config, config.hidden_size),
        cross_attention(w / "crossattention", config, config.encoder_width),
        intermediate(w / "intermediate.dense", config.hidden_size, config.intermediate_size),
        output(w / "output.dense", config.intermediate_size, config.hidden_size),
        norm(w / "output.LayerNorm", config.hidden_size, config.layer_norm_eps),
        act(activation(config.hidden_act)) {}

  at::Tensor operator()(const at::Tensor& x, const at::Tensor& mask, const at::Tensor& image) const {
    const auto looked = cross_attention(self_attention(x, x, mask), image);
    return norm(output(act(intermediate(looked))) + looked);
  }
};

/// BLIP's text encoder; it has no token-type embeddings.
struct BertModel {
  Embedding word_embeddings, position_embeddings;
  LayerNorm embeddings_norm;
  std::vector<BertLayer> layers;

  BertModel(const Weights& w, const BertConfig& config)
      : word_embeddings(w / "embeddings.word_embeddings", config.vocab_size, config.hidden_size),
        position_embeddings(w / "embeddings.position_embeddings", config.max_position_embeddings,
                            config.hidden_size),
        embeddings_norm(w / "embeddings.LayerNorm", config.hidden_size, config.layer_norm_eps) {
    for (std::int64_t i = 0; i < config.num_hidden_layers; ++i)
      layers.emplace_back(w / "encoder.layer" / i, config);
  }

  /// ids (N, length), int64 -> (N, length, hidden): the part that does not depend on the image.
  at::Tensor embed(const at::Tensor& ids) const {
    return embeddings_norm(word_embeddings(ids) + position_embeddings.weight.narrow(0, 0, ids.size(1)));
  }

  /// embedded (N, length, hidden), mask (N, 1, 1, length) added to the logits of the self-attention, image
  /// (N, tokens, encoder_width) -> last hidden state (N, length, hidden).
  at::Tensor operator()(const at::Tensor& embedded, const at::Tensor& mask, const at::Tensor& image) const {
    at::Tensor x = embedded;
    for (const auto& layer : layers) x = layer(x, mask, image);
    return x;
  }
};

}  // namespace reno::nn
