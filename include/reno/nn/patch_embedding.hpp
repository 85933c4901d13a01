// The tokens of a Vision Transformer: a linear map of each patch of pixels. Checkpoints store it as the
// kernel of a convolution whose stride is its size; as a matrix product it is several times faster on the way
// back, where convolution kernels are slow for strides that large.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/linear.h>

#include <cstdint>

#include "reno/nn/modules.hpp"

namespace reno::nn {

struct PatchEmbedding {
  at::Tensor weight;  ///< (width, channels, patch, patch)
  at::Tensor bias;    ///< (width), or undefined

  PatchEmbedding(const Weights& w, std::int64_t channels, std::int64_t width, std::int64_t patch,
                 Bias with_bias = Bias::yes)
      : weight(w.get("weight", {width, channels, patch, patch})),
        bias(detail::bias_of(w, width, with_bias)) {}

  /// Pixels (N, channels, H, W) -> (N, patches, width), row by row; what is left of the last incomplete
  /// patches at the right and the bottom is not looked at.
  at::Tensor operator()(const at::Tensor& pixels) const {
    const auto patch = weight.size(2), rows = pixels.size(2) / patch, columns = pixels.size(3) / patch;
    const auto patches = pixels.narrow(2, 0, rows * patch)
                             .narrow(3, 0, columns * patch)
                             .unflatten(3, {columns, patch})
                             .unflatten(2, {rows, patch})   // (N, channels, rows, patch, columns, patch)
                             .permute({0, 2, 4, 1, 3, 5});  // (N, rows, columns, channels, patch, patch)
    return at::linear(patches.reshape({pixels.size(0), rows * columns, -1}), weight.flatten(1), bias);
  }
};

}  // namespace reno::nn
