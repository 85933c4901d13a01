// One resolution level of a UNet2DConditionModel on the way down, at the bottom, and on the way up
// (diffusers: unet_2d_blocks.py). Each is a function of tensors, so that it can be recomputed as a unit.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "reno/nn/resnet.hpp"
#include "reno/nn/transformer_2d.hpp"
#include "reno/nn/unet2d_condition_config.hpp"

namespace reno::nn {

/// What conditions every block.
struct UNetConditions {
  at::Tensor activated_time;  ///< silu(time embedding), (1 or N, time_embed_dim)
  at::Tensor prompt;          ///< text encoder's hidden states, (N, tokens, cross_attention_dim)
};

namespace detail {

inline ResnetBlock2D::Settings resnet_settings(const UNet2DConditionConfig& config) {
  return {config.norm_num_groups, config.norm_eps, config.time_embed_dim()};
}

inline Transformer2DModel::Settings attention_settings(const UNet2DConditionConfig& config,
                                                       const UNet2DConditionConfig::Block& block) {
  return {block.transformer_layers,
          config.norm_num_groups,
          config.use_linear_projection,
          {block.channels, config.cross_attention_dim, block.heads, Bias::no, config.upcast_attention}};
}

}  // namespace detail

/// DownBlock2D and CrossAttnDownBlock2D.
struct UNetDownBlock2D {
  std::vector<ResnetBlock2D> resnets;
  std::vector<Transformer2DModel> attentions;  ///< one per resnet, or none
  std::optional<Downsample2D> downsampler;

  /// Level `index` of the configuration.
  UNetDownBlock2D(const Weights& w, const UNet2DConditionConfig& config, std::size_t index) {
    const auto& block = config.blocks[index];
    std::int64_t in = config.blocks[index == 0 ? 0 : index - 1].channels;
    for (std::int64_t i = 0; i < block.layers; ++i, in = block.channels) {
      resnets.emplace_back(w / "resnets" / i, in, block.channels, detail::resnet_settings(config));
      if (block.cross_attention_down)
        attentions.emplace_back(w / "attentions" / i, detail::attention_settings(config, block));
    }
    if (index + 1 < config.blocks.size())
      downsampler.emplace(w / "downsamplers" / 0, block.channels, config.downsample_padding);
  }

  /// Appends what the way up will need to `skips`.
  at::Tensor operator()(at::Tensor x, const UNetConditions& conditions,
                        std::vector<at::Tensor>& skips) const {
    for (std::size_t i = 0; i < resnets.size(); ++i) {
      x = resnets[i](x, conditions.activated_time);
      if (!attentions.empty()) x = attentions[i](x, conditions.prompt);
      skips.push_back(x);
    }
    if (downsampler) skips.push_back(x = (*downsampler)(x));
    return x;
  }
};

/// UNetMidBlock2DCrossAttn: the coarsest level.
struct UNetMidBlock2D {
  ResnetBlock2D first;
  Transformer2DModel attention;
  ResnetBlock2D last;

  UNetMidBlock2D(const Weights& w, const UNet2DConditionConfig& config)
      : first(resnet(w / "resnets" / 0, config)),
        attention(w / "attentions" / 0, detail::attention_settings(config, config.blocks.back())),
        last(resnet(w / "resnets" / 1, config)) {}

  at::Tensor operator()(const at::Tensor& x, const UNetConditions& conditions) const {
    return last(attention(first(x, conditions.activated_time), conditions.prompt), conditions.activated_time);
  }

 private:
  static ResnetBlock2D resnet(const Weights& w, const UNet2DConditionConfig& config) {
    const std::int64_t channels = config.blocks.back().channels;
    return {w, channels, channels, detail::resnet_settings(config)};
  }
};

/// UpBlock2D and CrossAttnUpBlock2D.
struct UNetUpBlock2D {
  std::vector<ResnetBlock2D> resnets;
  std::vector<Transformer2DModel> attentions;  ///< one per resnet, or none
  std::optional<Upsample2D> upsampler;

  /// Level `index` of the configuration; the way up runs from the last to 0.
  UNetUpBlock2D(const Weights& w, const UNet2DConditionConfig& config, std::size_t index) {
    const auto& block = config.blocks[index];
    const auto& finer = config.blocks[index == 0 ? 0 : index - 1];
    const auto& coarser = config.blocks[std::min(index + 1, config.blocks.size() - 1)];
    std::int64_t in = coarser.channels;
    for (std::int64_t i = 0; i <= block.layers; ++i, in = block.channels) {
      const std::int64_t skip = i == block.layers ? finer.channels : block.channels;
      resnets.emplace_back(w / "resnets" / i, in + skip, block.channels, detail::resnet_settings(config));
      if (block.cross_attention_up)
        attentions.emplace_back(w / "attentions" / i, detail::attention_settings(config, block));
    }
    if (index != 0) upsampler.emplace(w / "upsamplers" / 0, block.channels);
  }

  /// Takes its skips from the end of `skips`.
  at::Tensor operator()(at::Tensor x, const UNetConditions& conditions,
                        std::vector<at::Tensor>& skips) const {
    for (std::size_t i = 0; i < resnets.size(); ++i) {
      x = resnets[i](at::cat({x, skips.back()}, 1), conditions.activated_time);
      skips.pop_back();
      if (!attentions.empty()) x = attentions[i](x, conditions.prompt);
    }
    if (!upsampler) return x;
    const auto& finer = skips.back();
    return (*upsampler)(x, finer.size(2), finer.size(3));
  }
};

}  // namespace reno::nn
