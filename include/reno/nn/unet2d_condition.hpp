// The denoiser of Stable Diffusion and SDXL (Rombach et al. 2022; Podell et al. 2023; diffusers:
// UNet2DConditionModel): a UNet over latents (Ronneberger et al. 2015) conditioned on time and prompt.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/silu.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <utility>
#include <vector>

#include "reno/nn/checkpoint.hpp"
#include "reno/nn/timestep_embedding.hpp"
#include "reno/nn/unet2d_condition_blocks.hpp"

namespace reno::nn {

/// SDXL's extra conditions.
struct TextTimeConditions {
  at::Tensor text_embeds;  ///< pooled prompt, (N, width)
  at::Tensor time_ids;     ///< (N, 6) float32: original height, width, crop top, left, target height, width
};

struct UNet2DConditionModel {
  UNet2DConditionModel(const Weights& w, const UNet2DConditionConfig& config)
      : time_proj{config.blocks.front().channels, config.flip_sin_to_cos, config.freq_shift},
        time_embedding(w / "time_embedding", config.blocks.front().channels, config.time_embed_dim()),
        conv_in(w / "conv_in", config.in_channels, config.blocks.front().channels, 3, 1, 1),
        mid_block(w / "mid_block", config),
        conv_norm_out(w / "conv_norm_out", config.blocks.front().channels, config.norm_num_groups,
                      config.norm_eps),
        conv_out(w / "conv_out", config.blocks.front().channels, config.out_channels, 3, 1, 1) {
    if (const auto& text_time = config.text_time) {
      add_time_proj = {text_time->time_embed_dim, config.flip_sin_to_cos, config.freq_shift};
      add_embedding.emplace(w / "add_embedding", text_time->input_dim, config.time_embed_dim());
    }
    const auto levels = static_cast<std::int64_t>(config.blocks.size());
    for (std::int64_t i = 0; i < levels; ++i) {
      const auto level = static_cast<std::size_t>(i);
      down_blocks.emplace_back(w / "down_blocks" / i, config, level);
      up_blocks.emplace_back(w / "up_blocks" / i, config, config.blocks.size() - 1 - level);
    }
  }

  /// Embeds a time step: (1, time_embed_dim), the same for all images; with `added` (N, time_embed_dim). It
  /// depends on nothing that is optimised: compute it once per prompt.
  at::Tensor embed_time(double timestep, const std::optional<TextTimeConditions>& added = {}) const {
    const auto& weight = time_embedding.linear_1.weight;
    const auto step = at::full({1}, timestep, at::TensorOptions(at::kFloat).device(weight.device()));
    const auto embedding = time_embedding(time_proj(step).to(weight.scalar_type()));
    if (!add_embedding) return embedding;
    if (!added) throw RunError("this UNet needs a pooled prompt embedding and time ids (text_time)");
    const auto ids = (*add_time_proj)(added->time_ids).flatten(1).to(weight.scalar_type());
    return embedding + (*add_embedding)(at::cat({added->text_embeds, ids}, -1));
  }

  /// Predicts what the scheduler's `prediction_type` says. sample (N, in_channels, H, W), time embedding from
  /// `embed_time`, prompt (N, tokens, cross_attention_dim) -> (N, out_channels, H, W); all of one dtype.
  at::Tensor operator()(const at::Tensor& sample, const at::Tensor& time, const at::Tensor& prompt) const {
    const UNetConditions conditions{at::silu(time), prompt};
    std::vector<at::Tensor> skips{conv_in(laid_out(sample, FeatureMaps::of_denoiser))};
    for (const auto& block : down_blocks) go_down(block, conditions, skips);
    at::Tensor x = checkpoint(recompute, skips.back(),
                              [this, conditions](const at::Tensor& in) { return mid_block(in, conditions); });
    for (const auto& block : up_blocks) x = go_up(block, x, conditions, skips);
    return conv_out(norm_silu(conv_norm_out, x)).contiguous();
  }

  bool recompute = false;  ///< blocks are computed again on the way back instead of keeping activations

  Timesteps time_proj;
  TimestepEmbedding time_embedding;
  std::optional<Timesteps> add_time_proj;
  std::optional<TimestepEmbedding> add_embedding;
  Conv2d conv_in;
  std::vector<UNetDownBlock2D> down_blocks;
  UNetMidBlock2D mid_block;
  std::vector<UNetUpBlock2D> up_blocks;
  GroupNorm conv_norm_out;
  Conv2d conv_out;

 private:
  void go_down(const UNetDownBlock2D& block, const UNetConditions& conditions,
               std::vector<at::Tensor>& skips) const {
    auto outputs = checkpoint(recompute, std::vector{skips.back()},
                              [&block, conditions](const std::vector<at::Tensor>& inputs) {
                                std::vector<at::Tensor> outputs;
                                block(inputs.front(), conditions, outputs);
                                return outputs;
                              });
    std::move(outputs.begin(), outputs.end(), std::back_inserter(skips));
  }

  /// The block gets the skips that it takes and the one behind them, whose size it makes.
  at::Tensor go_up(const UNetUpBlock2D& block, const at::Tensor& x, const UNetConditions& conditions,
                   std::vector<at::Tensor>& skips) const {
    const auto taken = static_cast<std::ptrdiff_t>(block.resnets.size());
    std::vector<at::Tensor> inputs(skips.end() - taken - (block.upsampler ? 1 : 0), skips.end());
    skips.erase(skips.end() - taken, skips.end());
    inputs.push_back(x);
    return checkpoint(recompute, inputs, [&block, conditions](std::vector<at::Tensor> inputs) {
      const auto x = inputs.back();
      inputs.pop_back();
      return std::vector<at::Tensor>{block(x, conditions, inputs)};
    })[0];
  }
};

}  // namespace reno::nn
