// How large an image a generator makes: its native size, or what the user asks for where the model allows it.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "reno/error.hpp"
#include "reno/options.hpp"

namespace reno {

/// The options `height` and `width`; part of a generator's options, whose `describe` calls this one's.
struct ImageSize {
  std::optional<std::int64_t> height;
  std::optional<std::int64_t> width;

  void describe(auto& field) {
    field("height", height, "of the image in pixels; unset: what the model was trained for",
          bounds{1, 16384});
    field("width", width, "of the image in pixels; unset: what the model was trained for", bounds{1, 16384});
  }

  /// Height or width of the latent image, `native` unless it is set. `factor`: image pixels per latent pixel
  /// along a side. Throws ConfigurationError for a size that is no multiple of it.
  static std::int64_t latent_side(const char* name, const std::optional<std::int64_t>& pixels,
                                  std::int64_t native, std::int64_t factor) {
    if (!pixels) return native;
    if (*pixels % factor != 0)
      throw ConfigurationError(
          fmt::format("{} = {} is not a multiple of {}; the next ones are {} and {}", name, *pixels, factor,
                      std::max(*pixels / factor, std::int64_t{1}) * factor, (*pixels / factor + 1) * factor));
    return *pixels / factor;
  }

  /// (channels, height, width) of the latent image; `native` is the side of the model's own.
  std::vector<std::int64_t> latent_shape(std::int64_t channels, std::int64_t native,
                                         std::int64_t factor) const {
    return {channels, latent_side("height", height, native, factor),
            latent_side("width", width, native, factor)};
  }
};

}  // namespace reno
