// Rewards are trained on 64x64 pictures in patches of 8, but the published models see 224x224 in patches of
// 28 (or 16, 14). A bicubic enlargement is linear, so there is a kernel for the large patches that computes
// what the small one does: W28 = Dᵀ W8 D, where D maps 28 enlarged pixels to the 8 they came from, as well as
// least squares can (neighbouring patches have a little influence).
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "reno/image/preprocess.hpp"

namespace reno::shapes {

inline constexpr std::int64_t small_patch = 8, large_patch = 28, large_image = 224;

/// D (8, 28), float64.
inline at::Tensor patch_reduction() {
  constexpr std::int64_t small_image = 64, count = small_image / small_patch;
  const Preprocess enlarge{.size = large_image, .mean = {0, 0, 0}, .std = {1, 1, 1}};
  // Picture k is 1 in column k: one row of each is how pixel k reaches the enlarged ones.
  const auto columns = at::eye(small_image, at::kDouble).view({small_image, 1, 1, small_image});
  const auto images = columns.expand({small_image, 3, small_image, small_image}).contiguous();
  const auto enlarged = preprocess(images, enlarge).select(1, 0).select(1, large_image / 2).t();  // (224, 64)
  std::vector<at::Tensor> seen, wanted;
  for (std::int64_t i = 0; i < count; ++i) {
    seen.push_back(enlarged.narrow(0, i * large_patch, large_patch));
    auto selection = at::zeros({small_patch, small_image}, at::kDouble);
    selection.narrow(1, i * small_patch, small_patch).copy_(at::eye(small_patch, at::kDouble));
    wanted.push_back(selection);
  }
  const auto a = at::cat(seen, 1), t = at::cat(wanted, 1);
  const auto regular = a.mm(a.t()) + 3e-6 * at::eye(large_patch, at::kDouble);
  return at::linalg_solve(regular, a.mm(t.t())).t();
}

/// kernel (out, 3, 8, 8) -> (out, 3, 28, 28)
inline at::Tensor lifted(const at::Tensor& kernel) {
  const auto d = patch_reduction();
  return at::einsum("ocij,ik,jl->ockl", {kernel.to(at::kDouble), d, d}).to(kernel.scalar_type()).contiguous();
}

}  // namespace reno::shapes
