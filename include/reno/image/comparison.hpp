// Before and after at a glance: initial images in the upper row, best images below, one column per prompt.
#pragma once

#include <ATen/ops/_upsample_bilinear2d_aa.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/upsample_nearest2d.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "reno/image/png.hpp"

namespace reno {

/// Collects pairs of images and lays them out. It keeps small copies of the first few only.
class Comparison {
 public:
  static constexpr std::size_t max_columns = 8;
  static constexpr std::int64_t tile = 256;  ///< longest side of an image, in pixels
  static constexpr std::int64_t gap = 8;     ///< white pixels between images

  /// initial and best: (3,H,W) in [0,1].
  void add(const at::Tensor& initial, const at::Tensor& best) {
    if (columns_.size() < max_columns) columns_.push_back(at::cat({thumbnail(initial), thumbnail(best)}, 1));
  }

  bool empty() const { return columns_.empty(); }

  /// (3, height, width) in [0,1]; there must be at least one pair.
  at::Tensor sheet() const { return at::cat(columns_, 2); }

 private:
  /// Whole multiples of small images keep their pixels; larger ones are reduced.
  static at::Tensor thumbnail(const at::Tensor& image) {
    const at::Tensor pixels = image.detach().to(at::kCPU, at::kFloat).unsqueeze(0);
    const auto height = pixels.size(2);
    const auto width = pixels.size(3);
    const auto longest = std::max(height, width);
    at::Tensor scaled;
    if (longest <= tile) {
      const auto factor = tile / longest;
      scaled = at::upsample_nearest2d(pixels, {height * factor, width * factor});
    } else {
      scaled = at::_upsample_bilinear2d_aa(pixels,
                                           {std::max<std::int64_t>(1, height * tile / longest),
                                            std::max<std::int64_t>(1, width * tile / longest)},
                                           false);
    }
    return at::constant_pad_nd(scaled[0], {gap, gap, gap, gap}, 1.0);
  }

  std::vector<at::Tensor> columns_;
};

}  // namespace reno
