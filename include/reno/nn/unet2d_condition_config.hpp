// What the `config.json` of a diffusers UNet2DConditionModel says, checked: sizes in bounds, lists of the
// right length, and every switch that is not implemented at its usual value.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "reno/io/supported_config.hpp"

namespace reno::nn {

struct UNet2DConditionConfig {
  /// One resolution level, as the way down meets it.
  struct Block {
    std::int64_t channels;
    std::int64_t layers;              ///< resnets on the way down; one more on the way up
    std::int64_t heads;               ///< of the attentions
    std::int64_t transformer_layers;  ///< in each attention
    bool cross_attention_down;
    bool cross_attention_up;
  };

  /// SDXL's micro-conditioning: a pooled text embedding and six numbers join the time embedding.
  struct TextTime {
    std::int64_t time_embed_dim;  ///< sinusoid width of each of the six numbers
    std::int64_t input_dim;       ///< of the perceptron: text_embeds + 6 · time_embed_dim
  };

  std::int64_t sample_size;  ///< height and width of the latent image
  std::int64_t in_channels;
  std::int64_t out_channels;
  std::int64_t cross_attention_dim;
  std::int64_t norm_num_groups;
  double norm_eps;
  bool flip_sin_to_cos;
  double freq_shift;
  std::int64_t downsample_padding;
  bool use_linear_projection;
  bool upcast_attention;
  std::vector<Block> blocks;  ///< from the finest to the coarsest
  std::optional<TextTime> text_time;

  /// Throws LoadError naming file and key for a missing, malformed or unsupported value. Defaults are
  /// diffusers'.
  explicit UNet2DConditionConfig(const Config& config)
      : sample_size(config.size("sample_size", {}, 1 << 14)),
        in_channels(config.size("in_channels", 4)),
        out_channels(config.size("out_channels", 4)),
        cross_attention_dim(config.size("cross_attention_dim", 1280)),
        norm_num_groups(config.size("norm_num_groups", 32)),
        norm_eps(config.get<double>("norm_eps", 1e-5, bounds{0.0, 1.0})),
        flip_sin_to_cos(config.get<bool>("flip_sin_to_cos", true)),
        freq_shift(config.get<double>("freq_shift", 0.0, bounds{0.0, 1.0})),
        downsample_padding(config.get<std::int64_t>("downsample_padding", 1, bounds{0, 1})),
        use_linear_projection(config.get<bool>("use_linear_projection", false)),
        upcast_attention(config.get<bool>("upcast_attention", false)),
        blocks(read_blocks(config)) {
    require_usual_switches(config);
    std::vector<std::int64_t> channels;
    for (const auto& block : blocks) channels.push_back(block.channels);
    require_divisible(config, "block_out_channels", channels, norm_num_groups, "norm_num_groups");
    require_divisible(config, "block_out_channels", {channels.front()}, 2, "2 (sines and cosines)");
    for (const auto& block : blocks)
      require_divisible(config, "block_out_channels", {block.channels}, block.heads,
                        "its number of heads (attention_head_dim)");
    read_text_time(config);
  }

  std::int64_t time_embed_dim() const { return 4 * blocks.front().channels; }

 private:
  static std::vector<Block> read_blocks(const Config& config) {
    using Sizes = std::vector<std::int64_t>;
    const auto channels =
        config.get<Sizes>("block_out_channels", Sizes{320, 640, 1280, 1280}, bounds{1, 1 << 16});
    const std::size_t count = channels.size();
    if (count == 0 || count > 16)
      throw LoadError(
          fmt::format("{} has {} elements, expected 1 to 16", config.where("block_out_channels"), count));
    const auto layers = size_per_block(config, "layers_per_block", 2, count);
    // A misnomer of long standing: in these files `attention_head_dim` is the number of heads.
    const auto heads = size_per_block(config, "attention_head_dim", 8, count);
    const auto transformer_layers = size_per_block(config, "transformer_layers_per_block", 1, count);
    const auto down = attends(config, "down_block_types", "DownBlock2D", "CrossAttnDownBlock2D", count);
    const auto up = attends(config, "up_block_types", "UpBlock2D", "CrossAttnUpBlock2D", count);
    std::vector<Block> blocks;
    for (std::size_t i = 0; i < count; ++i)
      blocks.push_back({channels[i], layers[i], heads[i], transformer_layers[i], down[i], up[count - 1 - i]});
    return blocks;
  }

  /// Which blocks of a list of type names have attention.
  static std::vector<bool> attends(const Config& config, const char* key, const std::string& plain,
                                   const std::string& attending, std::size_t count) {
    const auto types = config.get<std::vector<std::string>>(key);
    if (types.size() != count)
      throw LoadError(fmt::format("{} has {} elements, but block_out_channels has {}", config.where(key),
                                  types.size(), count));
    std::vector<bool> attends;
    for (const auto& type : types) {
      if (type != plain && type != attending)
        throw LoadError(fmt::format("{} has the unknown block '{}'; have: {}, {}", config.where(key), type,
                                    attending, plain));
      attends.push_back(type == attending);
    }
    return attends;
  }

  static void require_usual_switches(const Config& config) {
    require_supported(config, {{"num_attention_heads", "null"},
                               {"act_fn", R"("silu")"},
                               {"attention_type", R"("default")"},
                               {"center_input_sample", "false"},
                               {"class_embed_type", "null"},
                               {"class_embeddings_concat", "false"},
                               {"conv_in_kernel", "3"},
                               {"conv_out_kernel", "3"},
                               {"cross_attention_norm", "null"},
                               {"dual_cross_attention", "false"},
                               {"encoder_hid_dim", "null"},
                               {"encoder_hid_dim_type", "null"},
                               {"mid_block_only_cross_attention", "null"},
                               {"mid_block_scale_factor", "1"},
                               {"mid_block_type", R"("UNetMidBlock2DCrossAttn")"},
                               {"num_class_embeds", "null"},
                               {"only_cross_attention", "false"},
                               {"resnet_out_scale_factor", "1"},
                               {"resnet_skip_time_act", "false"},
                               {"resnet_time_scale_shift", R"("default")"},
                               {"reverse_transformer_layers_per_block", "null"},
                               {"time_cond_proj_dim", "null"},
                               {"time_embedding_act_fn", "null"},
                               {"time_embedding_dim", "null"},
                               {"time_embedding_type", R"("positional")"},
                               {"timestep_post_act", "null"}});
  }

  void read_text_time(const Config& config) {
    const auto type = config.get<std::string>("addition_embed_type", "");
    if (type.empty()) return;
    require_supported(config, {{"addition_embed_type", R"("text_time")"}});
    text_time = {config.size("addition_time_embed_dim"),
                 config.size("projection_class_embeddings_input_dim")};
    require_divisible(config, "addition_time_embed_dim", {text_time->time_embed_dim}, 2,
                      "2 (sines and cosines)");
    if (text_time->input_dim <= 6 * text_time->time_embed_dim)
      throw LoadError(fmt::format("{} = {} leaves no room for text beside 6 time embeddings of {}",
                                  config.where("projection_class_embeddings_input_dim"), text_time->input_dim,
                                  text_time->time_embed_dim));
  }
};

}  // namespace reno::nn
