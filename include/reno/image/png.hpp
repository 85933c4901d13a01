// Images as PNG, through libpng, with text that describes them.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/round.h>
#include <fmt/format.h>
#include <png.h>
#include <unicode/unistr.h>

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "reno/error.hpp"
#include "reno/io/atomic_file.hpp"

namespace reno {

/// A text chunk of a PNG.
struct PngText {
  std::string keyword;  ///< printable ASCII, 1 to 79 characters
  std::string text;     ///< UTF-8
};

/// image (3,H,W) in [0,1], any floating dtype and device -> (H,W,3) bytes on the CPU, rounded to nearest.
inline at::Tensor to_bytes(const at::Tensor& image) {
  return at::clamp(at::round(image.detach().to(at::kCPU, at::kFloat).mul(255.0)), 0, 255)
      .to(at::kByte)
      .permute({1, 2, 0})
      .contiguous();
}

namespace detail {

/// A text as the file stores it: tEXt where Latin-1 suffices, which every reader knows, else iTXt in UTF-8.
/// What PNG cannot hold (NUL, ill-formed UTF-8) becomes U+FFFD.
struct StoredPngText {
  std::string keyword;
  std::string bytes;
  bool latin1 = false;

  explicit StoredPngText(const PngText& source) : keyword(source.keyword) {
    auto text = icu::UnicodeString::fromUTF8(source.text);
    for (std::int32_t i = 0; i < text.length(); ++i) {
      if (text[i] == 0) text.setCharAt(i, u'\uFFFD');
    }
    const auto* units = text.getBuffer();
    latin1 = std::all_of(units, units + text.length(), [](char16_t unit) { return unit < 0x100; });
    if (latin1) {
      for (std::int32_t i = 0; i < text.length(); ++i) bytes.push_back(static_cast<char>(text[i]));
    } else {
      text.toUTF8String(bytes);
    }
  }
};

/// libpng reports errors by a jump out of it; the message is kept on the way.
struct PngOutput {
  std::string bytes;
  std::array<char, 160> error{};
};

inline void fail_png(png_structp png, png_const_charp message) {
  auto& error = static_cast<PngOutput*>(png_get_error_ptr(png))->error;
  std::snprintf(error.data(), error.size(), "%s", message);
  png_longjmp(png, 1);
}

inline void append_png(png_structp png, png_bytep data, png_size_t size) {
  bool enough_memory = true;
  try {
    static_cast<PngOutput*>(png_get_io_ptr(png))->bytes.append(reinterpret_cast<const char*>(data), size);
  } catch (const std::exception&) {
    enough_memory = false;  // no exception may leave through libpng
  }
  if (!enough_memory) png_error(png, "out of memory");
}

/// Whether all went well. A frame of its own without locals: libpng jumps back into it.
inline bool write_png_image(png_structp png, png_infop info, const at::Tensor& bytes,
                            std::vector<png_text>& texts) {
  if (setjmp(png_jmpbuf(png)) != 0) return false;
  png_set_IHDR(png, info, static_cast<png_uint_32>(bytes.size(1)), static_cast<png_uint_32>(bytes.size(0)), 8,
               PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_set_sRGB(png, info, PNG_sRGB_INTENT_PERCEPTUAL);
  png_set_text(png, info, texts.data(), static_cast<int>(texts.size()));
  png_write_info(png, info);
  for (std::int64_t y = 0; y < bytes.size(0); ++y) {
    png_write_row(png, bytes.const_data_ptr<std::uint8_t>() + y * bytes.size(1) * 3);
  }
  png_write_end(png, info);
  return true;
}

}  // namespace detail

/// Encodes an image (3,H,W) in [0,1] as an 8-bit RGB PNG. Throws RunError.
inline std::string encode_png(const at::Tensor& image, const std::vector<PngText>& texts = {}) {
  const at::Tensor bytes = to_bytes(image);
  std::vector<detail::StoredPngText> stored(texts.begin(), texts.end());
  std::vector<png_text> chunks;
  for (auto& text : stored) {
    png_text chunk{};
    chunk.compression = text.latin1 ? PNG_TEXT_COMPRESSION_NONE : PNG_ITXT_COMPRESSION_NONE;
    chunk.key = text.keyword.data();
    chunk.text = text.bytes.data();
    (text.latin1 ? chunk.text_length : chunk.itxt_length) = text.bytes.size();
    chunks.push_back(chunk);
  }
  detail::PngOutput output;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &output, detail::fail_png, nullptr);
  png_infop info = png != nullptr ? png_create_info_struct(png) : nullptr;
  bool written = false;
  if (info != nullptr) {
    png_set_write_fn(png, &output, detail::append_png, nullptr);
    written = detail::write_png_image(png, info, bytes, chunks);
  }
  png_destroy_write_struct(&png, &info);
  if (!written) throw RunError(fmt::format("the image cannot be encoded as PNG: {}", output.error.data()));
  return std::move(output.bytes);
}

/// Writes an image (3,H,W) in [0,1]; the file appears whole or not at all.
inline void write_png(const std::filesystem::path& file, const at::Tensor& image,
                      const std::vector<PngText>& texts = {}) {
  write_file_atomically(file, encode_png(image, texts));
}

/// Reads a PNG as an image (3,H,W) in [0,1], float32. Throws LoadError for what is none, or is larger than
/// 16384 pixels a side.
inline at::Tensor read_png(const std::filesystem::path& file) {
  png_image header{};
  header.version = PNG_IMAGE_VERSION;
  const auto fail = [&](const char* what) {
    png_image_free(&header);
    throw LoadError(fmt::format("{}: {}", file.string(), what));
  };
  if (png_image_begin_read_from_file(&header, file.c_str()) == 0) fail(header.message);
  if (header.width > 16384 || header.height > 16384) fail("the image has a side of more than 16384 pixels");
  header.format = PNG_FORMAT_RGB;
  const at::Tensor bytes = at::empty({header.height, header.width, 3}, at::TensorOptions(at::kByte));
  if (png_image_finish_read(&header, nullptr, bytes.mutable_data_ptr(), 0, nullptr) == 0)
    fail(header.message);
  return bytes.permute({2, 0, 1}).to(at::kFloat).div(255.0).contiguous();
}

}  // namespace reno
