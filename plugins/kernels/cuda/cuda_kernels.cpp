// The plugin for NVIDIA GPUs: operators, and graphs (cuda_graph.hpp).
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <c10/core/DeviceGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <cstdint>
#include <tuple>

#include "../operators.hpp"
#include "cuda_graph.hpp"
#include "launch.hpp"
#include "reno/plugin.hpp"

namespace {

using namespace reno::kernels;

Sizes sizes_of(const at::Tensor& x, std::int64_t groups) {
  const std::int64_t images = x.size(0), channels = x.size(1);
  return {images, channels, x.numel() / (images * channels), groups};
}

bool aligned(const at::Tensor& tensor) {
  return reinterpret_cast<std::uintptr_t>(tensor.const_data_ptr()) % 16 == 0;
}

/// `x` in its memory format, read in packs of 16 bytes where all its neighbours allow.
Plan plan_for(const at::Tensor& x, const at::Tensor& gradient, std::int64_t groups, bool silu) {
  const auto sizes = sizes_of(x, groups);
  const auto layout = x.is_contiguous() ? Layout::planar : Layout::channels_last;
  const int widest = widest_pack(x.scalar_type());
  const auto together = layout == Layout::planar ? sizes.pixels : sizes.channels;
  const bool wide = together % widest == 0 && aligned(x) && (!gradient.defined() || aligned(gradient));
  return make_plan(layout, sizes, silu, wide ? widest : 1);
}

/// Room for what the first step leaves to the second.
template <class Total>
at::Tensor totals(const Plan& plan, const at::Tensor& x) {
  const std::int64_t count = plan.sizes.images * plan.chunks * plan.sizes.channels;
  return at::empty({count * static_cast<std::int64_t>(sizeof(Total) / sizeof(float))},
                   x.options().dtype(at::kFloat));
}

/// The current stream of the device that is current.
cudaStream_t stream_of(const at::Tensor& x) {
  return c10::cuda::getCurrentCUDAStream(x.device().index()).stream();
}

void check_launch() {
  const auto error = cudaGetLastError();
  TORCH_CHECK(error == cudaSuccess, "reno's CUDA kernel was not launched: ", cudaGetErrorString(error));
}

/// The values, and the groups' mean and 1/sqrt(variance + eps), (N, groups) in float.
std::tuple<at::Tensor, at::Tensor, at::Tensor> group_norm(const at::Tensor& x, const at::Tensor& weight,
                                                          const at::Tensor& bias, std::int64_t groups,
                                                          double eps, bool silu) {
  check_group_norm(x, weight, bias, groups);
  const c10::DeviceGuard guard(x.device());
  const auto input = x.contiguous(x.suggest_memory_format());
  const Plan plan = plan_for(input, {}, groups, silu);
  const auto y = at::empty_like(input), shared = totals<Moments>(plan, input);
  const auto mean = at::empty({x.size(0), groups}, shared.options()), rstd = at::empty_like(mean);
  launch_group_norm(x.scalar_type(), plan,
                    {.x = input.const_data_ptr(),
                     .weight = weight.const_data_ptr(),
                     .bias = bias.const_data_ptr(),
                     .gradient = nullptr,
                     .result = y.mutable_data_ptr(),
                     .mean = mean.mutable_data_ptr<float>(),
                     .rstd = rstd.mutable_data_ptr<float>(),
                     .sums = nullptr,
                     .totals = shared.mutable_data_ptr()},
                    static_cast<float>(eps), stream_of(x));
  check_launch();
  return {y, mean, rstd};
}

/// The gradient in x.
at::Tensor group_norm_backward(const at::Tensor& gradient, const at::Tensor& x, const at::Tensor& weight,
                               const at::Tensor& bias, const at::Tensor& mean, const at::Tensor& rstd,
                               std::int64_t groups, bool silu) {
  check_group_norm(x, weight, bias, groups);
  check_gradient(gradient, x);
  const c10::DeviceGuard guard(x.device());
  const auto input = x.contiguous(x.suggest_memory_format()),
             dy = gradient.contiguous(x.suggest_memory_format());
  const Plan plan = plan_for(input, dy, groups, silu);
  const auto dx = at::empty_like(input), shared = totals<Products>(plan, input);
  const auto sums = at::empty({x.size(0), groups, 2}, shared.options());
  launch_group_norm_backward(x.scalar_type(), plan,
                             {.x = input.const_data_ptr(),
                              .weight = weight.const_data_ptr(),
                              .bias = bias.const_data_ptr(),
                              .gradient = dy.const_data_ptr(),
                              .result = dx.mutable_data_ptr(),
                              .mean = mean.mutable_data_ptr<float>(),
                              .rstd = rstd.mutable_data_ptr<float>(),
                              .sums = sums.mutable_data_ptr<float>(),
                              .totals = shared.mutable_data_ptr()},
                             stream_of(x));
  check_launch();
  return dx;
}

}  // namespace

RENO_PLUGIN("cuda-kernels", [](reno::Registry& registry) {
  static const auto kept = register_operators(c10::DispatchKey::CUDA, {group_norm, group_norm_backward});
  registry.make_device_graph = make_cuda_graph;
})
