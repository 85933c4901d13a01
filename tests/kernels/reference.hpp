// What the operators of every plugin of kernels are held against, and what they are tried on.
#pragma once

#include <ATen/ATen.h>

#include <array>
#include <catch2/catch.hpp>
#include <cstdint>
#include <filesystem>
#include <utility>
#include <vector>

#include "reno/io/config.hpp"
#include "reno/nn/autoencoder_kl.hpp"

namespace reno::test {

struct Shape {
  std::array<std::int64_t, 4> sizes;
  std::int64_t groups;
};

// Packs of 16 bytes that fit and that do not; groups that begin within a pack; one pixel; more channels than
// a tile, and a tile that is not full; many chunks, and a last one that is short.
inline const std::vector<Shape> shapes = {
    {{2, 12, 5, 7}, 3},    {{1, 128, 12, 10}, 32}, {{2, 320, 4, 8}, 32},   {{1, 64, 1, 1}, 8},
    {{1, 1160, 3, 4}, 29}, {{3, 8, 64, 63}, 1},    {{1, 24, 80, 100}, 24}, {{1, 30, 33, 31}, 5}};

constexpr auto planar = at::MemoryFormat::Contiguous, interleaved = at::MemoryFormat::ChannelsLast;

/// The rounding of a dtype, as a relative distance.
inline const std::vector<std::pair<at::ScalarType, double>> dtypes = {
    {at::kFloat, 1e-6}, {at::kHalf, 4e-4}, {at::kBFloat16, 3e-3}};

struct Case {
  at::Tensor x, weight, bias, dy;
  std::int64_t groups;
  bool silu;
  double eps = 1e-5;

  Case(const Shape& shape, at::ScalarType dtype, at::MemoryFormat format, bool silu, double mean = 1,
       double spread = 3)
      : groups(shape.groups), silu(silu) {
    at::manual_seed(0);
    x = (at::randn(shape.sizes) * spread + mean).to(dtype).contiguous(format);
    dy = at::randn(shape.sizes).to(dtype).contiguous(format);
    weight = (at::rand({shape.sizes[1]}) + 0.5).to(dtype);
    bias = at::randn({shape.sizes[1]}).to(dtype);
  }
};

struct Result {
  at::Tensor y, mean, rstd, dx;
};

/// LibTorch's own, in double.
inline Result reference(const Case& test) {
  const auto leaf = test.x.to(at::kDouble).contiguous().requires_grad_();
  auto y =
      at::group_norm(leaf, test.groups, test.weight.to(at::kDouble), test.bias.to(at::kDouble), test.eps);
  if (test.silu) y = at::silu(y);
  y.backward(test.dy.to(at::kDouble).contiguous());
  const auto grouped = leaf.detach().reshape({leaf.size(0), test.groups, -1});
  return {y.detach(), grouped.mean(-1), 1 / (grouped.var(-1, /*unbiased=*/false) + test.eps).sqrt(),
          leaf.grad()};
}

inline double distance(const at::Tensor& got, const at::Tensor& expected) {
  return ((got.to(at::kDouble) - expected).norm() / expected.norm()).item<double>();
}

/// What a small decoder with random weights makes of latents, and a gradient in these, in double on the CPU.
inline std::pair<at::Tensor, at::Tensor> decode(at::Device device, at::ScalarType dtype) {
  const auto config = Config::parse(R"({"block_out_channels": [16, 32], "norm_num_groups": 4,
                                        "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D"]})",
                                    "config.json");
  const auto weights = Weights::random(1, at::kCPU, dtype).working_on(device);
  const nn::AutoencoderKLDecoder decoder(weights, nn::AutoencoderKLConfig(config));
  weights.to(device);
  at::manual_seed(0);
  const auto z = at::randn({2, 4, 6, 5}).to(device, dtype).requires_grad_();
  const auto image = decoder(z);
  image.backward(at::arange(image.numel(), at::kDouble).cos().view(image.sizes()).to(device, dtype));
  return {image.detach().to(at::kCPU, at::kDouble), z.grad().to(at::kCPU, at::kDouble)};
}

/// The decoder in channels-last against itself in double, which is planar.
inline void check_decoder(at::Device device, at::ScalarType dtype, double tolerance) {
  REQUIRE(nn::layout_of(nn::FeatureMaps::of_decoder, device, dtype) == interleaved);
  const auto [image, gradient] = decode(device, dtype);
  const auto [expected_image, expected_gradient] = decode(at::kCPU, at::kDouble);
  CHECK(distance(image, expected_image) < tolerance);
  CHECK(distance(gradient, expected_gradient) < tolerance);
}

inline const std::filesystem::path kernels_folder = RENO_BUILD_DIR "/lib/reno/kernels";

}  // namespace reno::test
