// The configuration of CLIP's two transformers as transformers stores it (config.json), read with its
// defaults: files leave out what equals them.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>

#include "reno/error.hpp"
#include "reno/io/config.hpp"

namespace reno::nn {

/// The sizes of one of CLIP's two transformers.
struct CLIPEncoderConfig {
  std::int64_t hidden_size;
  std::int64_t intermediate_size;
  std::int64_t num_hidden_layers;
  std::int64_t num_attention_heads;
  std::string hidden_act;
  double layer_norm_eps;

  CLIPEncoderConfig(const Config& config, std::int64_t hidden, std::int64_t intermediate, std::int64_t heads)
      : hidden_size(config.size("hidden_size", hidden)),
        intermediate_size(config.size("intermediate_size", intermediate)),
        num_hidden_layers(config.size("num_hidden_layers", 12, 1000)),
        num_attention_heads(config.size("num_attention_heads", heads)),
        hidden_act(config.get("hidden_act", "quick_gelu")),
        layer_norm_eps(config.get("layer_norm_eps", 1e-5, bounds{0.0, 1.0})) {
    if (hidden_size % num_attention_heads != 0)
      throw LoadError(fmt::format("{} = {} does not divide hidden_size = {}",
                                  config.where("num_attention_heads"), num_attention_heads, hidden_size));
  }
};

/// `config.json` of a text encoder, or the text section of a CLIPModel's; absent keys have transformers'
/// defaults.
struct CLIPTextConfig : CLIPEncoderConfig {
  std::int64_t vocab_size;
  std::int64_t max_position_embeddings;
  std::int64_t eos_token_id;
  std::int64_t projection_dim;

  explicit CLIPTextConfig(const Config& config)
      : CLIPEncoderConfig(config, 512, 2048, 8),
        vocab_size(config.size("vocab_size", 49408, 10'000'000)),
        max_position_embeddings(config.size("max_position_embeddings", 77)),
        eos_token_id(config.get<std::int64_t>("eos_token_id", 49407)),
        projection_dim(config.size("projection_dim", 512)) {}
};

/// The vision section of a CLIPModel's `config.json`.
struct CLIPVisionConfig : CLIPEncoderConfig {
  std::int64_t num_channels;
  std::int64_t image_size;  ///< pixels of the square input
  std::int64_t patch_size;

  explicit CLIPVisionConfig(const Config& config)
      : CLIPEncoderConfig(config, 768, 3072, 12),
        num_channels(config.size("num_channels", 3)),
        image_size(config.size("image_size", 224, 1 << 14)),
        patch_size(config.size("patch_size", 32, 1 << 14)) {
    if (patch_size > image_size)
      throw LoadError(fmt::format("{} = {} is larger than image_size = {}", config.where("patch_size"),
                                  patch_size, image_size));
  }

  /// Patches of one image.
  std::int64_t num_patches() const { return (image_size / patch_size) * (image_size / patch_size); }
};

/// `config.json` of a CLIPModel. As in transformers, the older `text_config_dict` and `vision_config_dict`
/// replace `text_config` and `vision_config` where both are there.
struct CLIPConfig {
  CLIPTextConfig text_config;
  CLIPVisionConfig vision_config;
  std::int64_t projection_dim;

  explicit CLIPConfig(const Config& config)
      : text_config(section(config, "text_config")),
        vision_config(section(config, "vision_config")),
        projection_dim(config.size("projection_dim", 512)) {}

 private:
  static Config section(const Config& config, const std::string& name) {
    return config.section(config.has(name + "_dict") ? name + "_dict" : name);
  }
};

}  // namespace reno::nn
