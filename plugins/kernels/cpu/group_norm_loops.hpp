// The loops of the CPU's group norm over rows of channels-last feature maps: (rows, channels) of float, half
// or bfloat16 (T), with factors per channel in float.
#pragma once

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <cstdint>

namespace reno::kernels {

/// y = scale x + shift, per channel.
struct Affine {
  const float* scale;
  const float* shift;
};

/// Which part of which feature map.
struct Extent {
  std::int64_t rows;
  std::int64_t channels;
};

/// Adds x - origin and its square to the channels' sums.
template <class T>
void sum_moments(const T* x, Extent extent, const float* origin, float* sums, float* squares);

/// y, or silu of it.
template <class T>
void write_values(const T* x, T* to, Extent extent, Affine y, bool silu);

/// Adds g and g (x - mean) to the channels' sums, where g is the gradient in y.
template <class T>
void sum_products(const T* x, const T* gradient, Extent extent, Affine y, bool silu, const float* mean,
                  float* sums, float* products);

/// dx = scale g + slope x + constant.
template <class T>
void write_gradient(const T* x, const T* gradient, T* to, Extent extent, Affine y, bool silu,
                    const float* slope, const float* constant);

}  // namespace reno::kernels
