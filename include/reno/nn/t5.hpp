// The encoder of T5 1.1 (Raffel et al. 2020, arXiv:1910.10683; Shazeer 2020, arXiv:2002.05202), the text
// encoder of PixArt and FLUX: pre-norm blocks x += attention(norm(x)); x += ff(norm(x)) that know positions
// only as a bias of the attention's logits, learned per head and distance. Names are transformers'.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/log.h>
#include <ATen/ops/rms_norm.h>
#include <ATen/ops/where.h>
#include <fmt/format.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "reno/error.hpp"
#include "reno/io/supported_config.hpp"
#include "reno/nn/modules.hpp"
#include "reno/nn/token_ids.hpp"

namespace reno::nn {

/// `config.json` of a T5EncoderModel; absent keys have transformers' defaults.
struct T5Config {
  std::int64_t vocab_size;
  std::int64_t d_model;
  std::int64_t d_kv;  ///< width of one head
  std::int64_t d_ff;
  std::int64_t num_layers;
  std::int64_t num_heads;
  std::int64_t relative_attention_num_buckets;
  std::int64_t relative_attention_max_distance;
  double layer_norm_epsilon;

  /// Throws LoadError naming file and key.
  explicit T5Config(const Config& config)
      : vocab_size(config.size("vocab_size", 32128, 10'000'000)),
        d_model(config.size("d_model", 512)),
        d_kv(config.size("d_kv", 64)),
        d_ff(config.size("d_ff", 2048)),
        num_layers(config.size("num_layers", 6, 1000)),
        num_heads(config.size("num_heads", 8)),
        relative_attention_num_buckets(config.size("relative_attention_num_buckets", 32)),
        relative_attention_max_distance(config.size("relative_attention_max_distance", 128)),
        layer_norm_epsilon(config.get<double>("layer_norm_epsilon", 1e-6, bounds{0, 1})) {
    const auto proj = config.get<std::string>("feed_forward_proj", "relu");
    if (proj != "gated-gelu")
      throw LoadError(fmt::format("{} = '{}' is not supported, expected 'gated-gelu': T5 1.1's",
                                  config.where("feed_forward_proj"), proj));
    if (relative_attention_num_buckets % 4 != 0 ||
        relative_attention_max_distance <= relative_attention_num_buckets / 4)
      throw LoadError(
          fmt::format("{} = {} is not a multiple of 4, or relative_attention_max_distance = {} is not larger "
                      "than a quarter",
                      config.where("relative_attention_num_buckets"), relative_attention_num_buckets,
                      relative_attention_max_distance));
  }
};

/// Which precision a half-precision T5 keeps where its activations grow beyond float16.
enum class T5Precision {
  uniform,      ///< everything in the dtype asked for: FLUX
  float32_out,  ///< a float16 encoder has the feed-forward's output weights, and from there on the residual
                ///< stream, in float32: how transformers loads T5 in float16, and so PixArt's pipeline does
};

/// x / sqrt(mean(x²) + eps) · weight, the quotient computed in float32 and rounded to the weight's dtype.
struct T5LayerNorm {
  at::Tensor weight;  ///< (size)
  double eps;

  T5LayerNorm(const Weights& w, std::int64_t size, double eps) : weight(w.get("weight", {size})), eps(eps) {}

  at::Tensor operator()(const at::Tensor& x) const {
    const auto wide = x.scalar_type() == at::kDouble ? x : x.to(at::kFloat);
    return at::rms_norm(wide, weight.sizes(), {}, eps).to(weight.scalar_type()) * weight;
  }
};

struct T5Attention {
  std::int64_t heads;
  Linear q, k, v, o;

  T5Attention(const Weights& w, const T5Config& config)
      : heads(config.num_heads),
        q(w / "q", config.d_model, config.num_heads * config.d_kv, Bias::no),
        k(w / "k", config.d_model, config.num_heads * config.d_kv, Bias::no),
        v(w / "v", config.d_model, config.num_heads * config.d_kv, Bias::no),
        o(w / "o", config.num_heads * config.d_kv, config.d_model, Bias::no) {}

  /// `bias` is added to the logits, which are not divided by anything: the weights have learned their scale.
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& bias) const {
    return o(attention(q(x), k(x), v(x), heads, {.mask = bias, .scale = 1.0}));
  }
};

/// wo (gelu(wi_0 x) · wi_1 x), gelu by its tanh formula.
struct T5FeedForward {
  Linear wi_0, wi_1, wo;

  T5FeedForward(const Weights& w, const T5Config& config, T5Precision precision)
      : wi_0(w / "wi_0", config.d_model, config.d_ff, Bias::no),
        wi_1(w / "wi_1", config.d_model, config.d_ff, Bias::no),
        wo(out_scope(w, precision) / "wo", config.d_ff, config.d_model, Bias::no) {}

  at::Tensor operator()(const at::Tensor& x) const {
    return wo((at::gelu(wi_0(x), "tanh") * wi_1(x)).to(wo.weight.scalar_type()));
  }

 private:
  static Weights out_scope(const Weights& w, T5Precision precision) {
    return precision == T5Precision::float32_out && w.dtype() == at::kHalf ? w.as(at::kFloat) : w;
  }
};

struct T5Block {
  T5LayerNorm attention_norm;
  T5Attention self_attention;
  T5LayerNorm ff_norm;
  T5FeedForward ff;

  T5Block(const Weights& w, const T5Config& config, T5Precision precision)
      : attention_norm(w / "layer.0.layer_norm", config.d_model, config.layer_norm_epsilon),
        self_attention(w / "layer.0.SelfAttention", config),
        ff_norm(w / "layer.1.layer_norm", config.d_model, config.layer_norm_epsilon),
        ff(w / "layer.1.DenseReluDense", config, precision) {}

  at::Tensor operator()(at::Tensor x, const at::Tensor& bias) const {
    x = finite(x + self_attention(attention_norm(x), bias));
    return finite(x + ff(ff_norm(x)));
  }

 private:
  /// What overflows float16 is brought back below its largest number, as far as transformers does.
  static at::Tensor finite(at::Tensor x) {
    constexpr double limit = 65504 - 1000;
    return x.scalar_type() == at::kHalf ? at::clamp(x, -limit, limit) : x;
  }
};

struct T5EncoderModel {
  Embedding shared;
  Embedding relative_attention_bias;  ///< (buckets, heads)
  std::int64_t max_distance;
  std::vector<T5Block> blocks;
  T5LayerNorm final_layer_norm;

  /// `w` is the root of a T5EncoderModel's checkpoint.
  T5EncoderModel(const Weights& w, const T5Config& config, T5Precision precision)
      : shared(w / embedding_name(w), config.vocab_size, config.d_model),
        relative_attention_bias(w / "encoder.block.0.layer.0.SelfAttention.relative_attention_bias",
                                config.relative_attention_num_buckets, config.num_heads),
        max_distance(config.relative_attention_max_distance),
        final_layer_norm(w / "encoder.final_layer_norm", config.d_model, config.layer_norm_epsilon) {
    for (std::int64_t i = 0; i < config.num_layers; ++i)
      blocks.emplace_back(w / "encoder.block" / i, config, precision);
  }

  /// Last hidden state (N, length, d_model). `mask` has a row of 1 (token) and 0 (padding that nobody sees)
  /// per prompt; without it padding is seen like text. Throws LoadError when the ids do not fit this encoder.
  at::Tensor operator()(const TokenIds& ids, const TokenIds& mask = {}) const {
    at::Tensor x = shared(token_matrix(ids, shared.weight.size(0), shared.weight.device()));
    at::Tensor bias = position_bias(x.size(1));
    if (!mask.empty()) bias = bias + mask_bias(mask);
    for (const auto& block : blocks) x = block(std::move(x), bias);
    return final_layer_norm(x);
  }

  /// Bias of the logits by distance (1, heads, length, length).
  at::Tensor position_bias(std::int64_t length) const {
    const auto buckets = position_buckets(length).to(relative_attention_bias.weight.device());
    return relative_attention_bias(buckets).permute({2, 0, 1}).unsqueeze(0);
  }

  /// 0 for tokens and the lowest number of the dtype for padding (N, 1, 1, length).
  at::Tensor mask_bias(const TokenIds& mask) const {
    const auto& table = relative_attention_bias.weight;
    const auto hidden = 1 - token_matrix(mask, 2, table.device()).to(table.scalar_type());
    return (hidden * lowest(table.scalar_type())).unsqueeze(1).unsqueeze(1);
  }

 private:
  /// Files name the embedding once or twice.
  static const char* embedding_name(const Weights& w) {
    return w.has("shared.weight") || !w.has("encoder.embed_tokens.weight") ? "shared"
                                                                           : "encoder.embed_tokens";
  }

  static double lowest(at::ScalarType dtype) {
    if (dtype == at::kHalf) return std::numeric_limits<c10::Half>::lowest();
    if (dtype == at::kBFloat16) return std::numeric_limits<c10::BFloat16>::lowest();
    return dtype == at::kDouble ? std::numeric_limits<double>::lowest()
                                : std::numeric_limits<float>::lowest();
  }

  /// Half of the buckets are for keys behind the query. Of a half, the first half has one distance each, the
  /// others ever more, in steps of the logarithm up to `max_distance`. Computed by the reference's float32
  /// operations: where a logarithm falls on a border, rounding decides.
  at::Tensor position_buckets(std::int64_t length) const {
    const std::int64_t half = relative_attention_bias.weight.size(0) / 2, exact = half / 2;
    const auto position = at::arange(length, at::kLong);
    const auto relative = position.unsqueeze(0) - position.unsqueeze(1);
    const auto distance = at::abs(relative);
    const auto steps = at::log(distance.to(at::kFloat) / exact) /
                       std::log(static_cast<double>(max_distance) / static_cast<double>(exact)) *
                       (half - exact);
    const auto far = (exact + at::clamp_min(steps, 0).to(at::kLong)).clamp_max(half - 1);
    return (relative > 0).to(at::kLong) * half + at::where(distance < exact, distance, far);
  }
};

}  // namespace reno::nn
