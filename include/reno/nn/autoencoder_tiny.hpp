// The decoder of a small autoencoder that was distilled from a large one (TAESD, Ollin Boer Bohan 2023;
// diffusers: AutoencoderTiny): plain convolutions and ReLU, no norm and no attention. It makes of the same
// latents nearly the same image for an eighteenth of the work. The encoder half of a checkpoint is left
// alone.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/tanh.h>
#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "reno/io/supported_config.hpp"
#include "reno/nn/checkpoint.hpp"
#include "reno/nn/modules.hpp"

namespace reno::nn {

/// The decoder's part of the `config.json` of an AutoencoderTiny.
struct AutoencoderTinyConfig {
  std::int64_t latent_channels;
  std::int64_t out_channels;
  std::int64_t channels;                   ///< of all blocks
  std::vector<std::int64_t> num_blocks;    ///< per level, from the coarsest to the finest
  std::int64_t upsampling_scaling_factor;  ///< between levels
  std::string act_fn;
  double scaling_factor;  ///< latents of the diffusion model = scaling_factor · what is decoded

  /// Throws LoadError naming file and key. Defaults are diffusers'.
  explicit AutoencoderTinyConfig(const Config& config)
      : latent_channels(config.size("latent_channels", 4)),
        out_channels(config.size("out_channels", 3)),
        num_blocks(config.get<std::vector<std::int64_t>>(
            "num_decoder_blocks", std::vector<std::int64_t>{3, 3, 3, 1}, bounds{0, 64})),
        upsampling_scaling_factor(config.size("upsampling_scaling_factor", 2, 16)),
        act_fn(config.get<std::string>("act_fn", "relu")),
        scaling_factor(config.get<double>("scaling_factor", 1.0, bounds{1e-6, 1e6})) {
    require_supported(config, {{"upsample_fn", R"("nearest")"}, {"shift_factor", "0.0"}});
    if (num_blocks.empty() || num_blocks.size() > 16)
      throw LoadError(fmt::format("{} has {} elements, expected 1 to 16", config.where("num_decoder_blocks"),
                                  num_blocks.size()));
    const auto widths = size_per_block(config, "decoder_block_out_channels", 64, num_blocks.size());
    channels = widths.front();
    for (const auto width : widths)
      if (width != channels)
        throw LoadError(fmt::format("{} has {} and {}, but each level's convolution keeps the channels",
                                    config.where("decoder_block_out_channels"), channels, width));
  }

  /// Image pixels per latent pixel along a side.
  std::int64_t scale_factor() const {
    std::int64_t factor = 1;
    for (std::size_t i = 1; i < num_blocks.size(); ++i) factor *= upsampling_scaling_factor;
    return factor;
  }
};

/// relu(x + three convolutions of x).
struct AutoencoderTinyBlock {
  Conv2d first;
  Conv2d second;
  Conv2d third;
  Activation act;

  AutoencoderTinyBlock(const Weights& w, std::int64_t channels, Activation act)
      : first(w / "conv" / 0, channels, channels, 3, 1, 1),
        second(w / "conv" / 2, channels, channels, 3, 1, 1),
        third(w / "conv" / 4, channels, channels, 3, 1, 1),
        act(act) {}

  at::Tensor operator()(const at::Tensor& x) const { return at::relu(third(act(second(act(first(x))))) + x); }
};

/// Latents to pixels.
struct AutoencoderTinyDecoder {
  /// Blocks of one resolution, and the convolution behind them, before which all but the last are enlarged.
  struct Level {
    std::vector<AutoencoderTinyBlock> blocks;
    std::int64_t enlarge;
    Conv2d conv;
  };

  /// `w` is the root of an AutoencoderTiny's checkpoint.
  AutoencoderTinyDecoder(const Weights& w, const AutoencoderTinyConfig& config)
      : act(activation(config.act_fn)),
        conv_in(w / "decoder" / "layers" / 0, config.latent_channels, config.channels, 3, 1, 1) {
    const Weights layers = w / "decoder" / "layers";
    std::int64_t index = 2;  // of a layer, as torch.nn.Sequential counts; conv_in and its activation are two
    for (std::size_t i = 0; i < config.num_blocks.size(); ++i) {
      const bool last = i + 1 == config.num_blocks.size();
      std::vector<AutoencoderTinyBlock> blocks;
      for (std::int64_t k = 0; k < config.num_blocks[i]; ++k)
        blocks.emplace_back(layers / index++, config.channels, act);
      if (!last) ++index;  // the enlargement has no weights
      levels.push_back(
          {std::move(blocks), last ? 1 : config.upsampling_scaling_factor,
           Conv2d(layers / index++, config.channels, last ? config.out_channels : config.channels, 3, 1, 1,
                  last ? Bias::yes : Bias::no)});
    }
  }

  /// z (N, latent_channels, h, w), divided by the scaling factor -> (N, out_channels, H, W), about [-1, 1].
  at::Tensor operator()(const at::Tensor& z) const {
    auto x = act(conv_in(at::tanh(z / 3) * 3));
    for (const auto& level : levels) {
      for (const auto& block : level.blocks)
        x = checkpoint(recompute, x, [&block](const at::Tensor& in) { return block(in); });
      x = level.enlarge == 1 ? level.conv(x)
                             : upsampled_conv2d(x, level.conv.weight, level.conv.bias,
                                                x.size(2) * level.enlarge, x.size(3) * level.enlarge);
    }
    return x * 2 - 1;
  }

  Activation act;
  Conv2d conv_in;
  std::vector<Level> levels;
  bool recompute = false;  ///< blocks are computed again on the way back instead of keeping activations
};

}  // namespace reno::nn
