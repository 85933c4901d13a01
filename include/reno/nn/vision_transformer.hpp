// The Vision Transformer (Dosovitskiy et al. 2021) under timm's names: BLIP's image encoder. Pre-norm blocks
// over a class token and one token per patch; query, key and value come from one fused projection.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>

#include <cstdint>
#include <vector>

#include "reno/nn/modules.hpp"
#include "reno/nn/patch_embedding.hpp"

namespace reno::nn {

struct VisionTransformerConfig {
  std::int64_t image_size = 224;
  std::int64_t patch_size = 16;
  std::int64_t width = 1024;
  std::int64_t layers = 24;
  std::int64_t heads = 16;
  double layer_norm_eps = 1e-6;

  std::int64_t num_patches() const { return (image_size / patch_size) * (image_size / patch_size); }
};

struct VisionTransformerBlock {
  std::int64_t heads;
  LayerNorm norm1;
  Linear qkv, proj;
  LayerNorm norm2;
  Linear fc1, fc2;

  VisionTransformerBlock(const Weights& w, const VisionTransformerConfig& config)
      : heads(config.heads),
        norm1(w / "norm1", config.width, config.layer_norm_eps),
        qkv(w / "attn.qkv", config.width, 3 * config.width),
        proj(w / "attn.proj", config.width, config.width),
        norm2(w / "norm2", config.width, config.layer_norm_eps),
        fc1(w / "mlp.fc1", config.width, 4 * config.width),
        fc2(w / "mlp.fc2", 4 * config.width, config.width) {}

  at::Tensor operator()(const at::Tensor& x) const {
    const auto fused = qkv(norm1(x)).chunk(3, -1);
    const auto attended = x + proj(attention(fused[0], fused[1], fused[2], heads));
    return attended + fc2(at::gelu(fc1(norm2(attended))));
  }
};

struct VisionTransformer {
  at::Tensor cls_token;  ///< (1, 1, width)
  at::Tensor pos_embed;  ///< (1, 1 + patches, width)
  PatchEmbedding patch_embed;
  std::vector<VisionTransformerBlock> blocks;
  LayerNorm norm;

  VisionTransformer(const Weights& w, const VisionTransformerConfig& config)
      : cls_token(w.get("cls_token", {1, 1, config.width})),
        pos_embed(w.get("pos_embed", {1, config.num_patches() + 1, config.width})),
        patch_embed(w / "patch_embed.proj", 3, config.width, config.patch_size),
        norm(w / "norm", config.width, config.layer_norm_eps) {
    for (std::int64_t i = 0; i < config.layers; ++i) blocks.emplace_back(w / "blocks" / i, config);
  }

  /// Normalised pixels (N, 3, size, size) -> (N, 1 + patches, width).
  at::Tensor operator()(const at::Tensor& pixels) const {
    at::Tensor x = embed(pixels);
    for (const auto& block : blocks) x = block(x);
    return norm(x);
  }

  /// What the first block sees.
  at::Tensor embed(const at::Tensor& pixels) const {
    const auto patches = patch_embed(pixels);
    return at::cat({cls_token.expand({patches.size(0), 1, -1}), patches}, 1) + pos_embed;
  }
};

}  // namespace reno::nn
