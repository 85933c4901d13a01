// What the kernels are called by, without their code.
#pragma once

#include <c10/core/ScalarType.h>
#include <cuda_runtime_api.h>

#include "group_norm.hpp"

namespace reno::kernels {

/// Numbers in a pack of 16 bytes.
inline int widest_pack(c10::ScalarType dtype) { return dtype == c10::kFloat ? 4 : 8; }

/// The tensors, their dtype not yet known to the compiler.
using AnyTensors = Tensors<void>;

/// x, weight, bias -> mean, rstd, result. `totals` has room for one Moments per image, chunk and channel;
/// plan.width is 1 or widest_pack, to which pointers must then be aligned.
void launch_group_norm(c10::ScalarType dtype, const Plan& plan, const AnyTensors& tensors, float eps,
                       cudaStream_t stream);

/// x, weight, bias, mean, rstd, gradient -> sums, result. `totals`: as many Products.
void launch_group_norm_backward(c10::ScalarType dtype, const Plan& plan, const AnyTensors& tensors,
                                cudaStream_t stream);

}  // namespace reno::kernels
