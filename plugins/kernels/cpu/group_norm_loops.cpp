// See loops.hpp for how these loops are compiled.
#include "group_norm_loops.hpp"

#include "loops.hpp"

namespace reno::kernels {

namespace {

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
