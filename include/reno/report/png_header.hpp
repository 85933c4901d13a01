// The size of a PNG from its first bytes: what a page needs before it shows one, and the proof that a file
// named by a run's results is a picture.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <utility>

namespace reno::report {

/// Width and height in pixels; nothing for what is no PNG or cannot be read.
inline std::optional<std::pair<std::uint32_t, std::uint32_t>> png_size(const std::filesystem::path& file) {
  std::array<unsigned char, 24> head{};
  std::error_code error;
  if (!std::filesystem::is_regular_file(file, error)) return std::nullopt;
  std::ifstream stream(file, std::ios::binary);
  if (!stream.read(reinterpret_cast<char*>(head.data()), head.size())) return std::nullopt;
  constexpr unsigned char start[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n',
                                     0,    0,   0,   13,  'I',  'H',  'D',  'R'};
  if (std::memcmp(head.data(), start, sizeof start) != 0) return std::nullopt;
  const auto number = [&](std::size_t at) {
    return std::uint32_t{head[at]} << 24 | std::uint32_t{head[at + 1]} << 16 |
           std::uint32_t{head[at + 2]} << 8 | std::uint32_t{head[at + 3]};
  };
  return std::pair(number(16), number(20));
}

}  // namespace reno::report
