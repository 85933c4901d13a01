// Rotary position embedding (Su et al. 2021, arXiv:2104.09864): pairs of a query's and a key's numbers are
// turned by angles that grow with the position, so that their product depends on the distance alone. A pair
// is a complex number, a turn a product.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/polar.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/view_as_complex.h>
#include <ATen/ops/view_as_real.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace reno::nn {

/// The turns of each position: coordinate x of axis a turns pair j by x / 10000^(2j / dims[a]). `positions`
/// (tokens, axes) float64 on the host; `dims` numbers of a head belong to each axis -> (tokens, 1, sum of
/// dims / 2), complex128.
inline at::Tensor rotary_turns(const at::Tensor& positions, const std::vector<std::int64_t>& dims) {
  std::vector<at::Tensor> angles;
  for (std::size_t axis = 0; axis < dims.size(); ++axis) {
    const auto exponent = at::arange(0, dims[axis], 2, at::kDouble) / static_cast<double>(dims[axis]);
    angles.push_back(at::outer(positions.select(1, static_cast<std::int64_t>(axis)),
                               at::pow(10000.0, exponent).reciprocal()));
  }
  const auto angle = at::cat(angles, 1).unsqueeze(1);
  return at::polar(at::ones_like(angle), angle);
}

/// x (N, tokens, heads, head) turned, in the dtype of x. `turns` (tokens, 1, head / 2) has the precision of
/// the product: complex64 whatever the dtype of a half-precision x.
inline at::Tensor rotated(const at::Tensor& x, const at::Tensor& turns) {
  const auto wide = x.to(turns.scalar_type() == at::kComplexDouble ? at::kDouble : at::kFloat);
  const auto pairs = at::view_as_complex(wide.unflatten(-1, {-1, 2}));
  return at::view_as_real(at::mul(pairs, turns)).flatten(-2).to(x.scalar_type());
}

}  // namespace reno::nn
