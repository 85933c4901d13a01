#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <catch2/catch.hpp>

#include "reno/image/preprocess.hpp"
#include "support/golden.hpp"

using reno::Preprocess;
using namespace reno::test;

namespace {

at::Tensor every(const at::Tensor& x, std::int64_t stride) {
  return x.slice(2, 0, std::nullopt, stride).slice(3, 0, std::nullopt, stride);
}

}  // namespace

TEST_CASE("resized shape and crop offset, exactly as torchvision rounds them") {
  for (const auto& golden : goldens("rewards/preprocess")) {
    for (const auto& size : golden.json["sizes"]) {
      INFO(golden.preset << " " << size["key"]);
      const auto [height, width] = reno::resized_shape(size["height"], size["width"], 224);
      CHECK(height == size["resized"][0].get<std::int64_t>());
      CHECK(width == size["resized"][1].get<std::int64_t>());
      CHECK(reno::crop_offset(height, 224) == size["crop_top"].get<std::int64_t>());
      CHECK(reno::crop_offset(width, 224) == size["crop_left"].get<std::int64_t>());
    }
  }
  CHECK(reno::crop_offset(269, 224) == 22);  // 22.5
  CHECK(reno::crop_offset(395, 224) == 86);  // 85.5
}

TEST_CASE("pixels and their gradient agree with torchvision") {
  for (const auto& golden : goldens("rewards/preprocess")) {
    int compared = 0;
    for (const auto& size : golden.json["sizes"]) {
      const auto key = size["key"].get<std::string>();
      if (!golden.has(key + ".image_u8") || !golden.has(key + ".pixel_values")) continue;
      INFO(golden.preset << " " << key);
      const auto image = golden[key + ".image_u8"].to(at::kFloat).div(255).requires_grad_(true);
      const auto pixels = reno::preprocess(image, Preprocess{});
      CHECK(pixels.sizes() == at::IntArrayRef{1, 3, 224, 224});
      check_close("preprocess pixel_values", every(pixels, size["pixel_stride"]),
                  golden[key + ".pixel_values"], Measure::absolute, 2e-6);
      torch::autograd::backward({pixels.square().sum()});
      check_close("preprocess grad_image", every(image.grad(), size["grad_stride"]),
                  golden[key + ".grad_image"], Measure::relative_norm, 1e-4);
      ++compared;
    }
    CHECK(compared >= 6);
  }
}

TEST_CASE("half-precision images: resized in float32, normalised in the narrow type") {
  for (const auto& golden : goldens("rewards/preprocess")) {
    for (const std::string name : {"half", "bfloat16"}) {
      INFO(golden.preset << " " << name);
      const auto image = golden[name + ".image"];
      const auto pixels = reno::preprocess(image, Preprocess{});
      CHECK(pixels.scalar_type() == image.scalar_type());
      // The last bit of the resized value may differ, by which the normalised one moves up to two.
      const double last_bits = name == "half" ? 4e-3 : 4e-2;
      check_close("preprocess " + name, every(pixels, 8), golden[name + ".pixel_values"], Measure::absolute,
                  last_bits);
      const auto equal = every(pixels, 8).eq(golden[name + ".pixel_values"]).to(at::kFloat).mean();
      CHECK(equal.item<float>() > 0.99F);
    }
  }
}

TEST_CASE("nothing is clamped: a hard edge overshoots") {
  auto edge = at::zeros({1, 3, 96, 96});
  edge.narrow(3, 48, 48).fill_(1);
  const auto pixels = reno::preprocess(edge, Preprocess{224, {0, 0, 0}, {1, 1, 1}});
  for (const auto& golden : goldens("rewards/preprocess"))
    check_close("preprocess edge", pixels[0][0][100], golden["edge.row"], Measure::absolute, 2e-6);
  CHECK(pixels.min().item<float>() < -0.05F);
  CHECK(pixels.max().item<float>() > 1.05F);
}

TEST_CASE("another size, mean and deviation; each image of a batch by itself") {
  at::manual_seed(0);
  const auto images = at::rand({3, 3, 20, 30}, at::TensorOptions(at::kDouble));
  const Preprocess spec{16, {0.5, 0.4, 0.3}, {0.5, 0.25, 0.1}};
  const auto pixels = reno::preprocess(images, spec);
  const auto plain = reno::preprocess(images, Preprocess{16, {0, 0, 0}, {1, 1, 1}});
  CHECK(pixels.sizes() == at::IntArrayRef{3, 3, 16, 16});
  CHECK(pixels.scalar_type() == at::kDouble);
  CHECK(at::allclose(pixels.select(1, 2), (plain.select(1, 2) - 0.3) / 0.1));
  for (int i = 0; i < 3; ++i) CHECK(at::equal(reno::preprocess(images.narrow(0, i, 1), spec)[0], pixels[i]));
}

TEST_CASE("preprocessing runs on tensors without data") {
  const auto images = at::empty({2, 3, 64, 80}, at::TensorOptions(at::kHalf).device(at::kMeta));
  const auto pixels = reno::preprocess(images, Preprocess{});
  CHECK(pixels.is_meta());
  CHECK(pixels.sizes() == at::IntArrayRef{2, 3, 224, 224});
}
