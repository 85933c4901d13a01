// The regression head of ImageReward and of the aesthetic predictor: five linear layers and nothing between
// them (their dropout acts in training only). Names are those of both checkpoints: layers.{0,2,4,6,7}.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <vector>

#include "reno/nn/modules.hpp"

namespace reno::nn {

struct RewardHead {
  std::vector<Linear> layers;

  RewardHead(const Weights& w, std::int64_t width) {
    constexpr std::array<std::int64_t, 5> index{0, 2, 4, 6, 7};
    const std::array<std::int64_t, 6> widths{width, 1024, 128, 64, 16, 1};
    for (std::size_t i = 0; i < index.size(); ++i)
      layers.emplace_back(w / "layers" / index[i], widths[i], widths[i + 1]);
  }

  /// (N, width) -> (N)
  at::Tensor operator()(at::Tensor x) const {
    for (const auto& layer : layers) x = layer(x);
    return x.squeeze(-1);
  }
};

}  // namespace reno::nn
