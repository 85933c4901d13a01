// Positions on a grid of patches as sines and cosines (Vaswani et al. 2017, in two dimensions; diffusers:
// get_2d_sincos_pos_embed). Any grid spans the range of coordinates that the model was trained on.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/sin.h>

#include <cstdint>

namespace reno::nn {

/// The grid that a model was trained on.
struct SincosGrid {
  std::int64_t base_size;      ///< patches along a side
  double interpolation_scale;  ///< what coordinates are divided by

  /// (height · width, size), float32, on the CPU, row by row: the column's sines and cosines, then the row's.
  /// `size` is a multiple of 4. Coordinates are float32 as in the reference, everything else float64.
  at::Tensor operator()(std::int64_t size, std::int64_t height, std::int64_t width) const {
    const auto columns = along(size / 2, width).unsqueeze(0).expand({height, -1, -1});
    const auto rows = along(size / 2, height).unsqueeze(1).expand({-1, width, -1});
    return at::cat({columns, rows}, -1).flatten(0, 1).to(at::kFloat);
  }

 private:
  at::Tensor along(std::int64_t size, std::int64_t count) const {
    const double stretch = static_cast<double>(count) / static_cast<double>(base_size);
    const auto position = at::arange(count, at::kFloat) / stretch / interpolation_scale;
    const auto exponent = at::arange(size / 2, at::kDouble) / (static_cast<double>(size) / 2);
    const auto angle = position.to(at::kDouble).unsqueeze(-1) / at::pow(10000.0, exponent);
    return at::cat({angle.sin(), angle.cos()}, -1);
  }
};

}  // namespace reno::nn
