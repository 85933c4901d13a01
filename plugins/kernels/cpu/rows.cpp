// Compiled for several generations of processors, of which the program picks its own when it is loaded. The
// compiler turns each loop into vector instructions; what is written here keeps it possible: no calls, no
// branches within a row.
#include "rows.hpp"

#include <bit>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#define RENO_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define RENO_CLONES
#endif
#define RENO_INLINE [[gnu::always_inline]] inline

namespace reno::kernels {

namespace {

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

RENO_INLINE float sigmoid(float y) { return 1 / (1 + exponential(-y)); }

template <bool silu>
RENO_INLINE float value(float y) {
  return silu ? y * sigmoid(y) : y;
}

template <bool silu>
RENO_INLINE float gradient_in_y(float y, float gradient) {
  if (!silu) return gradient;
  const float s = sigmoid(y);
  return gradient * s * (1 + y * (1 - s));
}

template <class T>
RENO_INLINE void add_moments(const T* __restrict x, Extent extent, const float* __restrict origin,
                             float* __restrict sums, float* __restrict squares) {
  for (std::int64_t row = 0; row < extent.rows; ++row, x += extent.channels)
    for (std::int64_t c = 0; c < extent.channels; ++c) {
      const float distance = static_cast<float>(x[c]) - origin[c];
      sums[c] += distance;
      squares[c] += distance * distance;
    }
}

template <bool silu, class T>
RENO_INLINE void values(const T* __restrict x, T* __restrict to, Extent extent, const float* __restrict scale,
                        const float* __restrict shift) {
  for (std::int64_t row = 0; row < extent.rows; ++row, x += extent.channels, to += extent.channels)
    for (std::int64_t c = 0; c < extent.channels; ++c)
      to[c] = static_cast<T>(value<silu>(static_cast<float>(x[c]) * scale[c] + shift[c]));
}

template <bool silu, class T>
RENO_INLINE void add_products(const T* __restrict x, const T* __restrict gradient, Extent extent,
                              const float* __restrict scale, const float* __restrict shift,
                              const float* __restrict mean, float* __restrict sums,
                              float* __restrict products) {
  for (std::int64_t row = 0; row < extent.rows; ++row, x += extent.channels, gradient += extent.channels)
    for (std::int64_t c = 0; c < extent.channels; ++c) {
      const float at = static_cast<float>(x[c]);
      const float g = gradient_in_y<silu>(at * scale[c] + shift[c], static_cast<float>(gradient[c]));
      sums[c] += g;
      products[c] += g * (at - mean[c]);
    }
}

template <bool silu, class T>
RENO_INLINE void gradients(const T* __restrict x, const T* __restrict gradient, T* __restrict to,
                           Extent extent, const float* __restrict scale, const float* __restrict shift,
                           const float* __restrict slope, const float* __restrict constant) {
  for (std::int64_t row = 0; row < extent.rows;
       ++row, x += extent.channels, gradient += extent.channels, to += extent.channels)
    for (std::int64_t c = 0; c < extent.channels; ++c) {
      const float at = static_cast<float>(x[c]);
      const float g = gradient_in_y<silu>(at * scale[c] + shift[c], static_cast<float>(gradient[c]));
      to[c] = static_cast<T>(g * scale[c] + at * slope[c] + constant[c]);
    }
}

}  // namespace

// target_clones needs functions that are no templates.
#define RENO_ROWS(T)                                                                                        \
  template <>                                                                                               \
  RENO_CLONES void sum_moments(const T* x, Extent extent, const float* origin, float* sums,                 \
                               float* squares) {                                                            \
    add_moments(x, extent, origin, sums, squares);                                                          \
  }                                                                                                         \
  template <>                                                                                               \
  RENO_CLONES void write_values(const T* x, T* to, Extent extent, Affine y, bool silu) {                    \
    silu ? values<true>(x, to, extent, y.scale, y.shift) : values<false>(x, to, extent, y.scale, y.shift);  \
  }                                                                                                         \
  template <>                                                                                               \
  RENO_CLONES void sum_products(const T* x, const T* gradient, Extent extent, Affine y, bool silu,          \
                                const float* mean, float* sums, float* products) {                          \
    silu ? add_products<true>(x, gradient, extent, y.scale, y.shift, mean, sums, products)                  \
         : add_products<false>(x, gradient, extent, y.scale, y.shift, mean, sums, products);                \
  }                                                                                                         \
  template <>                                                                                               \
  RENO_CLONES void write_gradient(const T* x, const T* gradient, T* to, Extent extent, Affine y, bool silu, \
                                  const float* slope, const float* constant) {                              \
    silu ? gradients<true>(x, gradient, to, extent, y.scale, y.shift, slope, constant)                      \
         : gradients<false>(x, gradient, to, extent, y.scale, y.shift, slope, constant);                    \
  }
RENO_ROWS(float)
RENO_ROWS(c10::Half)
RENO_ROWS(c10::BFloat16)

}  // namespace reno::kernels
