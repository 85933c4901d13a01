// See loops.hpp for how these loops are compiled.
#include "attention_loops.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "loops.hpp"

namespace reno::kernels {

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

/// The bits of a bfloat16, rounded to the nearest; of what is no number, one that is none either.
RENO_INLINE std::uint32_t rounded(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  return (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
}

RENO_INLINE void store(c10::BFloat16* to, float x) { to->x = static_cast<std::uint16_t>(rounded(x)); }

RENO_INLINE float widened(c10::BFloat16 x) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(x.x) << 16);
}

/// The bits of a panel of a row of softmax, and of the gradient in its logits.
RENO_INLINE void of_panel(const RowTerms& row, std::int64_t key, float scale,
                          std::uint32_t* __restrict softmax, std::uint32_t* __restrict slopes) {
  const float* __restrict logits = row.logits + key;
  const float* __restrict gradient = row.gradient + key;
  for (std::int64_t i = 0; i < panel; ++i) {
    const float p = exponential(logits[i] * scale - row.log_sum);
    softmax[i] = rounded(p);
    slopes[i] = rounded(scale * p * (gradient[i] - row.mean_gradient));
  }
}

RENO_INLINE void write_pairs(const std::uint32_t* __restrict first, const std::uint32_t* __restrict second,
                             c10::BFloat16* to) {
  auto* __restrict pairs = reinterpret_cast<std::uint32_t*>(to);
  for (std::int64_t i = 0; i < panel; ++i) pairs[i] = first[i] | second[i] << 16;
}

}  // namespace

void pack_rows(Rows rows, std::int64_t first, std::int64_t all, c10::BFloat16* to) {
  for (std::int64_t column = 0; column < rows.width; column += panel) {
    const std::int64_t width = std::min(panel, rows.width - column);
    c10::BFloat16* at = to + column * all + first * width;
    for (std::int64_t row = 0; row < rows.count; row += 2, at += 2 * width) {
      const c10::BFloat16* upper = rows.data + row * rows.stride + column;
      const bool alone = row + 1 == rows.count;
      for (std::int64_t c = 0; c < width; ++c) {
        at[2 * c] = upper[c];
        at[2 * c + 1] = alone ? c10::BFloat16(0) : upper[rows.stride + c];
      }
    }
  }
}

void pack_columns(Rows rows, c10::BFloat16* to) {
  for (std::int64_t c = 0; c < panel; ++c)
    for (std::int64_t row = 0; row < rows.width; ++row)
      to[(row / 2 * panel + c) * 2 + row % 2] =
          c < rows.count ? rows.data[c * rows.stride + row] : c10::BFloat16(0);
}

void transpose(Rows rows, std::int64_t first, std::int64_t all, c10::BFloat16* to) {
  for (std::int64_t c = 0; c < rows.width; ++c) {
    c10::BFloat16* at = to + c * all + first;
    for (std::int64_t row = 0; row < rows.count; ++row) at[row] = rows.data[row * rows.stride + c];
    if (rows.count % 2 != 0) at[rows.count] = c10::BFloat16(0);
  }
}

RENO_CLONES float exponentiate(float* logits, std::int64_t keys, std::int64_t padded, float scale,
                               c10::BFloat16* to, float& sum) {
  for (std::int64_t key = keys; key < padded; ++key) logits[key] = -infinity;
  // As many as a panel has side by side: the order of a sum is for the compiler to keep.
  float largest[panel], sums[panel];
  for (float& value : largest) value = -infinity;
  for (float& value : sums) value = 0;
  for (std::int64_t key = 0; key < padded; key += panel)
    for (std::int64_t i = 0; i < panel; ++i)
      largest[i] = logits[key + i] > largest[i] ? logits[key + i] : largest[i];
  const float most = *std::max_element(largest, largest + panel) * scale;
  for (std::int64_t key = 0; key < padded; key += panel)
    for (std::int64_t i = 0; i < panel; ++i) {
      const float weight = exponential(logits[key + i] * scale - most);
      sums[i] += weight;
      store(to + key + i, weight);
    }
  for (std::int64_t key = keys; key < padded; ++key) to[key] = c10::BFloat16(0);
  sum = 0;
  for (const float value : sums) sum += value;
  return most + std::log(sum);
}

RENO_CLONES void differentiate(const RowTerms& first, const RowTerms& second, std::int64_t keys,
                               std::int64_t padded, float scale, std::int64_t pair, std::int64_t factor_rows,
                               c10::BFloat16* softmax, c10::BFloat16* logits, c10::BFloat16* first_row,
                               c10::BFloat16* second_row) {
  for (std::int64_t key = 0; key < padded; key += panel) {
    const std::int64_t start = key * factor_rows + 2 * pair * panel;
    std::uint32_t p[2][panel], d[2][panel];
    of_panel(first, key, scale, p[0], d[0]);
    of_panel(second, key, scale, p[1], d[1]);
    for (std::int64_t i = std::max<std::int64_t>(keys - key, 0); i < panel; ++i)
      p[0][i] = p[1][i] = d[0][i] = d[1][i] = 0;
    write_pairs(p[0], p[1], softmax + start);
    write_pairs(d[0], d[1], logits + start);
    for (std::int64_t i = 0; i < panel; ++i) first_row[key + i].x = static_cast<std::uint16_t>(d[0][i]);
    for (std::int64_t i = 0; i < panel; ++i) second_row[key + i].x = static_cast<std::uint16_t>(d[1][i]);
  }
}

RENO_CLONES void scale_row(const float* values, std::int64_t count, float factor, c10::BFloat16* to) {
  for (std::int64_t i = 0; i < count; ++i) store(to + i, values[i] * factor);
}

float dot(const c10::BFloat16* a, const c10::BFloat16* b, std::int64_t count) {
  float sum = 0;
  for (std::int64_t i = 0; i < count; ++i) sum += widened(a[i]) * widened(b[i]);
  return sum;
}

}  // namespace reno::kernels
