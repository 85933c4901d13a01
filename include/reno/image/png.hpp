// Images as PNG, through libpng.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/round.h>
#include <fmt/format.h>
#include <png.h>

#include <filesystem>
#include <string>

#include "reno/error.hpp"
#include "reno/io/atomic_file.hpp"

namespace reno {

/// image (3,H,W) in [0,1], any floating dtype and device -> (H,W,3) bytes on the CPU, rounded to nearest.
inline at::Tensor to_bytes(const at::Tensor& image) {
  return at::clamp(at::round(image.detach().to(at::kCPU, at::kFloat).mul(255.0)), 0, 255)
      .to(at::kByte)
      .permute({1, 2, 0})
      .contiguous();
}

/// Encodes an image (3,H,W) in [0,1] as an 8-bit RGB PNG.
inline std::string encode_png(const at::Tensor& image) {
  const at::Tensor bytes = to_bytes(image);
  png_image header{};
  header.version = PNG_IMAGE_VERSION;
  header.height = static_cast<png_uint_32>(bytes.size(0));
  header.width = static_cast<png_uint_32>(bytes.size(1));
  header.format = PNG_FORMAT_RGB;
  const auto* pixels = bytes.const_data_ptr<std::uint8_t>();
  png_alloc_size_t size = 0;
  std::string encoded;
  if (png_image_write_to_memory(&header, nullptr, &size, 0, pixels, 0, nullptr) != 0) {
    encoded.resize(size);
    if (png_image_write_to_memory(&header, encoded.data(), &size, 0, pixels, 0, nullptr) != 0) {
      encoded.resize(size);
      return encoded;
    }
  }
  throw RunError(fmt::format("the image cannot be encoded as PNG: {}", header.message));
}

/// Writes an image (3,H,W) in [0,1]; the file appears whole or not at all.
inline void write_png(const std::filesystem::path& file, const at::Tensor& image) {
  write_file_atomically(file, encode_png(image));
}

}  // namespace reno
