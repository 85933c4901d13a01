// Keeps noise as probable as Gaussian noise is: the negative log-likelihood of its norm under the chi
// distribution,
//
//     R(z) = weight * ( |z|^2 / 2 - (d - 1) log |z| ),        dR/dz = weight * z * ( 1 - (d - 1) / |z|^2 ),
//
// with d elements per image; smallest at |z|^2 = d - 1. (ReNO, Eyring et al., NeurIPS 2024, section 3; the
// norm's prior is from NAO, Samuel et al., NeurIPS 2023.) The gradient is in closed form: no graph is built.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/linalg_vector_norm.h>

#include <cstdint>

namespace reno {

/// The regulariser at one point, per image; detached, on the noise's device.
struct Regularization {
  at::Tensor norm;      ///< (N), |z|
  at::Tensor value;     ///< (N), weight * (|z|^2 / 2 - (d - 1) log |z|)
  at::Tensor gradient;  ///< like the noise
};

/// noise: (N, ...) in float32 or float64, whose dtype the result has. Narrower noise is widened to float32
/// for the norm and the value (in float16 the norm overflows). A noise of norm 0 has no finite value or
/// gradient.
inline Regularization regularize(const at::Tensor& noise, double weight) {
  const auto dtype = noise.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor z = noise.detach().to(dtype).flatten(1);
  const auto degrees = static_cast<double>(z.size(1) - 1);

  Regularization result;
  result.norm = at::linalg_vector_norm(z, 2, at::IntArrayRef{1});
  const at::Tensor square = result.norm.square();
  result.value = weight * (0.5 * square - degrees * result.norm.log());
  const at::Tensor factor = weight * (1.0 - degrees / square);
  result.gradient = (z * factor.unsqueeze(1)).view(noise.sizes()).to(noise.scalar_type());
  return result;
}

}  // namespace reno
