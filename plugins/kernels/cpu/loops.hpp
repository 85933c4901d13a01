// What the loops of this plugin have in common. Files that hold them are compiled for several generations of
// processors, of which the program picks its own when it is loaded. The compiler turns each loop into vector
// instructions; what is written there keeps it possible: no calls, no branches within a row.
#pragma once

#include <bit>
#include <cstdint>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#define RENO_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define RENO_CLONES
#endif
#define RENO_INLINE [[gnu::always_inline]] inline

namespace reno::kernels {

/// Within 2e-7 of it. With n the nearest whole number to x / ln 2, e^x = 2^n e^r, where |r| <= ln 2 / 2.
RENO_INLINE float exponential(float x) {
  x = x < -87 ? -87 : x > 88 ? 88 : x;
  constexpr float to_integer = 12582912;  // 1.5 · 2^23: what is added to it is rounded to a whole number
  const float shifted = x * 1.44269504f + to_integer;
  const float n = shifted - to_integer;
  const float r = x - n * 0.693145752f - n * 1.42860677e-6f;  // ln 2 in two parts, the first short
  float series = 1.f / 5040;
  series = series * r + 1.f / 720;
  series = series * r + 1.f / 120;
  series = series * r + 1.f / 24;
  series = series * r + 1.f / 6;
  series = series * r + 1.f / 2;
  series = series * r + 1;
  series = series * r + 1;
  const std::uint32_t power =
      std::bit_cast<std::uint32_t>(shifted) - std::bit_cast<std::uint32_t>(to_integer);
  return series * std::bit_cast<float>((power + 127) << 23);
}

}  // namespace reno::kernels
