// What the `config.json` of PixArt-α's transformer says, checked. Published files carry the class name
// Transformer2DModel of older libraries and keys that its later name PixArtTransformer2DModel has dropped.
#pragma once

#include <algorithm>
#include <cstdint>

#include "reno/io/supported_config.hpp"

namespace reno::nn {

struct PixArtTransformerConfig {
  std::int64_t sample_size;  ///< height and width of the latent image
  std::int64_t in_channels;
  std::int64_t out_channels;  ///< twice in_channels: the second half is the variance, which one step ignores
  std::int64_t patch_size;
  std::int64_t num_layers;
  std::int64_t num_attention_heads;
  std::int64_t inner_dim;
  std::int64_t caption_channels;  ///< width of the text encoder's states
  bool attention_bias;
  double norm_eps;
  double interpolation_scale;      ///< of the positions
  bool use_additional_conditions;  ///< image size and aspect ratio join the time step: the 1024-pixel models

  /// Throws LoadError naming file and key for a missing, malformed or unsupported value. Defaults are
  /// diffusers'.
  explicit PixArtTransformerConfig(const Config& config)
      : sample_size(config.size("sample_size", 128, 1 << 14)),
        in_channels(config.size("in_channels", 4)),
        out_channels(config.size("out_channels", 8)),
        patch_size(config.size("patch_size", 2, 1 << 10)),
        num_layers(config.size("num_layers", 28, 1000)),
        num_attention_heads(config.size("num_attention_heads", 16)),
        inner_dim(num_attention_heads * config.size("attention_head_dim", 72)),
        caption_channels(config.size("caption_channels")),
        attention_bias(config.get<bool>("attention_bias", true)),
        norm_eps(config.get<double>("norm_eps", 1e-6, bounds{0, 1})),
        interpolation_scale(config.get<double>(
            "interpolation_scale", static_cast<double>(std::max<std::int64_t>(sample_size / 64, 1)),
            bounds{1e-3, 1e3})),
        use_additional_conditions(config.get<bool>("use_additional_conditions", sample_size == 128)) {
    named_value<bool>(config, "_class_name", "PixArtTransformer2DModel",
                      {{"PixArtTransformer2DModel", true}, {"Transformer2DModel", true}});
    require_supported(config, {{"activation_fn", R"("gelu-approximate")"},
                               {"attention_type", R"("default")"},
                               {"double_self_attention", "false"},
                               {"norm_elementwise_affine", "false"},
                               {"norm_type", R"("ada_norm_single")"},
                               {"num_vector_embeds", "null"},
                               {"only_cross_attention", "false"},
                               {"upcast_attention", "false"}});
    if (config.size("cross_attention_dim", 1152) != inner_dim)
      throw LoadError(fmt::format("{} = {}, expected {}, the width of the transformer (its heads together)",
                                  config.where("cross_attention_dim"),
                                  config.size("cross_attention_dim", 1152), inner_dim));
    require_divisible(config, "sample_size", {sample_size}, patch_size, "patch_size");
    require_divisible(config, "attention_head_dim", {inner_dim}, 4,
                      "4 (sines and cosines of rows and columns)");
    if (use_additional_conditions)
      require_divisible(config, "attention_head_dim", {inner_dim}, 3, "3 (height, width, aspect ratio)");
  }
};

}  // namespace reno::nn
