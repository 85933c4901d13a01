// Pictures in a terminal: each character cell shows two pixels, as foreground and background of an upper half
// block.
#pragma once

#include <ATen/ops/_upsample_bilinear2d_aa.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <string_view>

#include "reno/image/png.hpp"

namespace reno {

/// Whether standard output is a terminal that says it shows 24-bit colours.
inline bool terminal_shows_pictures() {
  const char* colours = std::getenv("COLORTERM");
  const std::string_view value = colours != nullptr ? colours : "";
  return ::isatty(STDOUT_FILENO) == 1 && (value == "truecolor" || value == "24bit");
}

/// image (3,H,W) in [0,1] -> lines of `columns` cells (or fewer for a narrower image), with escape sequences
/// for 24-bit colours.
inline std::string terminal_picture(const at::Tensor& image, std::int64_t columns) {
  const auto width = std::min(columns, image.size(2));
  const auto height = std::max<std::int64_t>(2, image.size(1) * width / image.size(2) / 2 * 2);
  const at::Tensor small = at::_upsample_bilinear2d_aa(image.detach().to(at::kCPU, at::kFloat).unsqueeze(0),
                                                       {height, width}, false)[0];
  const at::Tensor bytes = to_bytes(small);
  const auto* pixel = bytes.const_data_ptr<std::uint8_t>();
  std::string text;
  for (std::int64_t y = 0; y < height; y += 2) {
    for (std::int64_t x = 0; x < width; ++x) {
      const auto* upper = pixel + (y * width + x) * 3;
      const auto* lower = upper + width * 3;
      text += fmt::format("\033[38;2;{};{};{};48;2;{};{};{}m▀", upper[0], upper[1], upper[2], lower[0],
                          lower[1], lower[2]);
    }
    text += "\033[0m\n";
  }
  return text;
}

}  // namespace reno
