// Pictures of any square size, as the shapes world sees them.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/_upsample_bicubic2d_aa.h>
#include <ATen/ops/empty.h>
#include <fmt/format.h>
#include <png.h>

#include <filesystem>

#include "reno/error.hpp"
#include "shapes/world/vocabulary.hpp"

namespace reno::shapes {

/// Reads a PNG of any kind as (3, H, W) float32 in [0, 1]; transparency is put on white. Throws LoadError.
inline at::Tensor read_png(const std::filesystem::path& file) {
  constexpr png_uint_32 longest = 1 << 14;
  png_image header{};
  header.version = PNG_IMAGE_VERSION;
  const auto fail = [&](const std::string& why) {
    png_image_free(&header);
    throw LoadError(fmt::format("{}: {}", file.string(), why));
  };
  if (png_image_begin_read_from_file(&header, file.c_str()) == 0) fail(header.message);
  if (header.width > longest || header.height > longest)
    fail(fmt::format("is {}x{} pixels, expected at most {} along a side", header.width, header.height,
                     longest));
  header.format = PNG_FORMAT_RGB;
  const png_color white{255, 255, 255};
  const auto bytes = at::empty({header.height, header.width, 3}, at::kByte);
  if (png_image_finish_read(&header, &white, bytes.mutable_data_ptr(), 0, nullptr) == 0) fail(header.message);
  return bytes.permute({2, 0, 1}).to(at::kFloat).div(255);
}

/// Resizes a square image (3, S, S) to the world's 64x64. Throws LoadError, naming `file`, for other shapes.
inline at::Tensor to_world_size(const at::Tensor& image, const std::filesystem::path& file) {
  if (image.size(1) != image.size(2))
    throw LoadError(fmt::format("{}: is {}x{} pixels, expected a square picture", file.string(),
                                image.size(2), image.size(1)));
  if (image.size(1) == image_size) return image;
  return at::_upsample_bicubic2d_aa(image.unsqueeze(0), {image_size, image_size}, /*align_corners=*/false)[0];
}

}  // namespace reno::shapes
