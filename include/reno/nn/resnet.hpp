// The convolutional blocks that the UNet and the autoencoder share (diffusers: resnet.py, upsampling.py,
// downsampling.py). Activations are (N, C, H, W); the nonlinearity is SiLU in every published checkpoint.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

#include "reno/nn/modules.hpp"

namespace reno::nn {

/// x + conv2(silu(norm2(conv1(silu(norm1(x))) + projected time))), with a 1x1 convolution on the shortcut
/// where the number of channels changes (He et al. 2016, as in Ho et al. 2020).
struct ResnetBlock2D {
  /// What all the blocks of one network have in common.
  struct Settings {
    std::int64_t norm_groups;
    double norm_eps;
    std::int64_t time_channels = 0;  ///< width of the time embedding; 0: the network has none
  };

  GroupNorm norm1;
  Conv2d conv1;
  std::optional<Linear> time_emb_proj;
  GroupNorm norm2;
  Conv2d conv2;
  std::optional<Conv2d> conv_shortcut;

  ResnetBlock2D(const Weights& w, std::int64_t in, std::int64_t out, const Settings& settings)
      : norm1(w / "norm1", in, settings.norm_groups, settings.norm_eps),
        conv1(w / "conv1", in, out, 3, 1, 1),
        norm2(w / "norm2", out, settings.norm_groups, settings.norm_eps),
        conv2(w / "conv2", out, out, 3, 1, 1) {
    if (settings.time_channels != 0) time_emb_proj.emplace(w / "time_emb_proj", settings.time_channels, out);
    if (in != out) conv_shortcut.emplace(w / "conv_shortcut", in, out, 1);
  }

  /// `activated_time`: silu(time embedding) (1 or N, time_channels), undefined for a network without time.
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& activated_time = {}) const {
    auto hidden = conv1(norm_silu(norm1, x));
    if (time_emb_proj) hidden = hidden + (*time_emb_proj)(activated_time).unsqueeze(-1).unsqueeze(-1);
    hidden = conv2(norm_silu(norm2, hidden));
    return (conv_shortcut ? (*conv_shortcut)(x) : x) + hidden;
  }
};

/// Halves height and width with a strided convolution.
struct Downsample2D {
  Conv2d conv;

  Downsample2D(const Weights& w, std::int64_t channels, std::int64_t padding)
      : conv(w / "conv", channels, channels, 3, 2, padding) {}

  at::Tensor operator()(const at::Tensor& x) const { return conv(x); }
};

/// Repeats pixels up to a size (twice the input's, unless an odd size was halved before), then convolves.
struct Upsample2D {
  Conv2d conv;

  Upsample2D(const Weights& w, std::int64_t channels) : conv(w / "conv", channels, channels, 3, 1, 1) {}

  at::Tensor operator()(const at::Tensor& x) const { return (*this)(x, 2 * x.size(2), 2 * x.size(3)); }
  at::Tensor operator()(const at::Tensor& x, std::int64_t height, std::int64_t width) const {
    return upsampled_conv2d(x, conv.weight, conv.bias, height, width);
  }
};

}  // namespace reno::nn
