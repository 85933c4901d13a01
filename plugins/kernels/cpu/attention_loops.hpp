// The loops of the CPU's attention over rows of logits, and how its matrices are laid out for products.
//
// The right factor of a product of bfloat16 matrices, (rows, columns), comes in pairs of rows, since
// processors multiply and add two numbers at a time: an element lies at [row / 2][column][row % 2]. And it
// comes in panels of `panel` columns, one behind the other, so that a product walks through memory in one
// direction. Behind an odd number of rows stands a row of zeros.
#pragma once

#include <c10/util/BFloat16.h>

#include <algorithm>
#include <cstdint>

namespace reno::kernels {

constexpr std::int64_t panel = 64;

/// Rows of a matrix.
struct Rows {
  const c10::BFloat16* data;
  std::int64_t stride;  ///< from row to row
  std::int64_t count;
  std::int64_t width;

  Rows part(std::int64_t first, std::int64_t most) const {
    return {data + first * stride, stride, std::min(most, count - first), width};
  }
};

/// Rows from `first`, an even number, on, into the right factor (all, width), where `all` is even.
void pack_rows(Rows rows, std::int64_t first, std::int64_t all, c10::BFloat16* to);

/// At most `panel` rows -> a panel of the right factor (width, ...), its columns the rows; zeros beyond them.
void pack_columns(Rows rows, c10::BFloat16* to);

/// Rows from `first` on into (width, all) row by row; zeros beyond the last, up to the next even number.
void transpose(Rows rows, std::int64_t first, std::int64_t all, c10::BFloat16* to);

/// A row of `keys` logits: e^{scale (x - largest)}, and zeros up to `padded`, a multiple of `panel`. Returns
/// log Σ e^{scale x}, and in `sum` the sum of what it wrote before rounding.
float exponentiate(float* logits, std::int64_t keys, std::int64_t padded, float scale, c10::BFloat16* to,
                   float& sum);

/// One row on the way back.
struct RowTerms {
  const float* logits;
  const float* gradient;  ///< in what the softmax gave
  float log_sum;          ///< as exponentiate() returned it
  float mean_gradient;    ///< of `gradient`, weighted with what the softmax gave
};

/// Two rows of logits on the way back, which become rows of two right factors: what the softmax gave, p, and
/// the gradient in the logits, scale p (gradient - mean), which is also written row by row. Zeros from `keys`
/// up to `padded`. pair: of a factor's rows; factor_rows: an even number.
void differentiate(const RowTerms& first, const RowTerms& second, std::int64_t keys, std::int64_t padded,
                   float scale, std::int64_t pair, std::int64_t factor_rows, c10::BFloat16* softmax,
                   c10::BFloat16* logits, c10::BFloat16* first_row, c10::BFloat16* second_row);

/// factor · values, rounded.
void scale_row(const float* values, std::int64_t count, float factor, c10::BFloat16* to);

/// Σ a b
float dot(const c10::BFloat16* a, const c10::BFloat16* b, std::int64_t count);

}  // namespace reno::kernels
