// Gradient clipping by norm, each image by its own: g * min(1, max_norm / (|g| + 1e-6)). (Pascanu et al.,
// ICML 2013; the epsilon is that of torch.nn.utils.clip_grad_norm_.)
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/linalg_vector_norm.h>

namespace reno {

/// gradient: (N, ...). max_norm 0: no clipping, the gradient itself is returned. Tensor operations only: no
/// synchronisation. A NaN or infinite gradient of an image gives NaN in that image.
inline at::Tensor clip_by_norm(const at::Tensor& gradient, double max_norm) {
  if (max_norm == 0.0) return gradient;
  const at::Tensor flat = gradient.flatten(1);
  const at::Tensor norm = at::linalg_vector_norm(flat, 2, at::IntArrayRef{1}, /*keepdim=*/true);
  const at::Tensor scale = (max_norm / (norm + 1e-6)).clamp_max(1.0);
  return (flat * scale).view(gradient.sizes());
}

}  // namespace reno
