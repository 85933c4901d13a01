// The words of the coloured-shapes world: four shapes, eight colours, four relations, numbers up to four.
// Everywhere else a shape, colour or relation is its index in these tables.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string_view>

namespace reno::shapes {

/// Height and width of every picture.
inline constexpr int image_size = 64;

using Rgb = std::array<float, 3>;  ///< each in [0, 1]

inline constexpr std::array<std::string_view, 4> shape_names = {"circle", "square", "triangle", "cross"};

inline constexpr std::array<std::string_view, 8> color_names = {"red",  "orange", "yellow", "green",
                                                                "cyan", "blue",   "purple", "pink"};

/// In circular order of hue, so that neighbours are what is most easily confused.
inline constexpr std::array<Rgb, 8> palette = {{{.88F, .10F, .10F},
                                                {1.0F, .55F, .05F},
                                                {.97F, .90F, .10F},
                                                {.10F, .65F, .18F},
                                                {.10F, .80F, .85F},
                                                {.12F, .25F, .92F},
                                                {.50F, .12F, .72F},
                                                {1.0F, .48F, .75F}}};

inline constexpr std::array<std::string_view, 4> relation_names = {"left of", "right of", "above", "below"};

inline constexpr std::array<std::string_view, 5> number_names = {"", "one", "two", "three", "four"};

inline constexpr int shape_count = static_cast<int>(shape_names.size());
inline constexpr int color_count = static_cast<int>(color_names.size());
inline constexpr int relation_count = static_cast<int>(relation_names.size());
inline constexpr int most_of_a_kind = static_cast<int>(number_names.size()) - 1;

/// left of <-> right of, above <-> below.
constexpr int opposite(int relation) { return relation ^ 1; }

/// Index of `name` in one of the tables above.
template <std::size_t N>
constexpr std::optional<int> index_of(const std::array<std::string_view, N>& names, std::string_view name) {
  for (std::size_t i = 0; i < N; ++i)
    if (!name.empty() && names[i] == name) return static_cast<int>(i);
  return std::nullopt;
}

}  // namespace reno::shapes
