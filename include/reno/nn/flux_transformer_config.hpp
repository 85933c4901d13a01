// What the `config.json` of a FluxTransformer2DModel says, checked.
#pragma once

#include <cstdint>
#include <numeric>
#include <vector>

#include "reno/io/supported_config.hpp"

namespace reno::nn {

struct FluxTransformerConfig {
  std::int64_t in_channels;  ///< of a token: a patch of 2 x 2 latent pixels
  std::int64_t num_layers;   ///< blocks in which text and image have weights of their own
  std::int64_t num_single_layers;
  std::int64_t num_attention_heads;
  std::int64_t attention_head_dim;
  std::int64_t joint_attention_dim;    ///< width of T5's states
  std::int64_t pooled_projection_dim;  ///< width of CLIP's pooled state
  std::vector<std::int64_t> axes_dims_rope;

  std::int64_t inner_dim() const { return num_attention_heads * attention_head_dim; }

  /// Throws LoadError naming file and key for a missing, malformed or unsupported value. Defaults are
  /// diffusers'.
  explicit FluxTransformerConfig(const Config& config)
      : in_channels(config.size("in_channels", 64)),
        num_layers(config.size("num_layers", 19, 1000)),
        num_single_layers(config.size("num_single_layers", 38, 1000)),
        num_attention_heads(config.size("num_attention_heads", 24)),
        attention_head_dim(config.size("attention_head_dim", 128)),
        joint_attention_dim(config.size("joint_attention_dim", 4096)),
        pooled_projection_dim(config.size("pooled_projection_dim", 768)),
        axes_dims_rope(config.get<std::vector<std::int64_t>>(
            "axes_dims_rope", std::vector<std::int64_t>{16, 56, 56}, bounds{2, 1 << 20})) {
    require_supported(
        config,
        {{"_class_name", R"("FluxTransformer2DModel")"}, {"guidance_embeds", "false"}, {"patch_size", "1"}});
    if (config.size("out_channels", in_channels) != in_channels)
      throw LoadError(fmt::format("{} is not in_channels = {}", config.where("out_channels"), in_channels));
    require_divisible(config, "in_channels", {in_channels}, 4, "4 (patches of 2 x 2)");
    require_divisible(config, "axes_dims_rope", axes_dims_rope, 2, "2 (cosine and sine)");
    if (axes_dims_rope.size() != 3 ||
        std::accumulate(axes_dims_rope.begin(), axes_dims_rope.end(), std::int64_t{0}) != attention_head_dim)
      throw LoadError(fmt::format("{} is not three numbers with the sum attention_head_dim = {}",
                                  config.where("axes_dims_rope"), attention_head_dim));
  }
};

}  // namespace reno::nn
