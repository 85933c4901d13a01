#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include "group_norm.hpp"
#include "launch.hpp"

namespace reno::kernels {

namespace {

/// The block of the running thread.
struct GpuBlock {
  template <class Phase>
  __host__ __device__ void each(const Phase& phase) const {
#if defined(__CUDA_ARCH__)
    phase(static_cast<int>(threadIdx.x));
    __syncthreads();
#endif
  }
};

__device__ Place this_place() {
  return {static_cast<int>(blockIdx.x), static_cast<int>(blockIdx.y), static_cast<int>(blockIdx.z)};
}

template <template <class, Layout, int> class Sum, class T, Layout layout, int width>
__global__ void __launch_bounds__(most_threads) sum_kernel(const Plan plan, const Tensors<T> tensors) {
  using Total = typename Sum<T, layout, width>::Total;
  extern __shared__ float shared[];
  GpuBlock block;
  sum_channels<Sum, T, layout, width>(block, plan, this_place(), tensors, reinterpret_cast<Total*>(shared));
}

__global__ void __launch_bounds__(most_threads)
    statistics_kernel(const Plan plan, const AnyTensors tensors, float eps) {
  extern __shared__ float shared[];
  GpuBlock block;
  merge_group(
      block, plan, blockIdx.y, blockIdx.x, blockDim.x, tensors.totals, reinterpret_cast<Moments*>(shared),
      [&](std::int64_t index, const Moments& total) { finish_statistics(tensors, index, total, eps); });
}

__global__ void __launch_bounds__(most_threads) sums_kernel(const Plan plan, const AnyTensors tensors) {
  extern __shared__ float shared[];
  GpuBlock block;
  merge_group(
      block, plan, blockIdx.y, blockIdx.x, blockDim.x, tensors.totals, reinterpret_cast<Products*>(shared),
      [&](std::int64_t index, const Products& total) { finish_sums(tensors, index, total, plan.sizes); });
}

template <class T, Layout layout, int width>
__global__ void __launch_bounds__(most_threads) values_kernel(const Plan plan, const Tensors<T> tensors) {
  write_values<T, layout, width>(plan, this_place(), threadIdx.x, tensors);
}

template <class T, Layout layout, int width>
__global__ void __launch_bounds__(most_threads) gradient_kernel(const Plan plan, const Tensors<T> tensors) {
  write_gradient<T, layout, width>(plan, this_place(), threadIdx.x, tensors);
}

/// Blocks and threads for the three steps.
struct Dimensions {
  dim3 blocks, groups;
  unsigned threads, merging_threads;

  explicit Dimensions(const Plan& plan)
      : blocks(plan.chunks, plan.tiles, static_cast<unsigned>(plan.sizes.images)),
        groups(static_cast<unsigned>(plan.sizes.groups), static_cast<unsigned>(plan.sizes.images)),
        threads(plan.threads()),
        merging_threads(plan.chunks * plan.sizes.group_channels() <= 32 ? 32 : most_threads) {}
};

template <class T, Layout layout, int width>
void forward(const Plan& plan, const Tensors<T>& tensors, const AnyTensors& any, float eps,
             cudaStream_t stream) {
  const Dimensions size(plan);
  sum_kernel<SumMoments, T, layout, width>
      <<<size.blocks, size.threads, size.threads * plan.lanes() * sizeof(Moments), stream>>>(plan, tensors);
  statistics_kernel<<<size.groups, size.merging_threads, size.merging_threads * sizeof(Moments), stream>>>(
      plan, any, eps);
  values_kernel<T, layout, width><<<size.blocks, size.threads, 0, stream>>>(plan, tensors);
}

template <class T, Layout layout, int width>
void backward(const Plan& plan, const Tensors<T>& tensors, const AnyTensors& any, cudaStream_t stream) {
  const Dimensions size(plan);
  sum_kernel<SumProducts, T, layout, width>
      <<<size.blocks, size.threads, size.threads * plan.lanes() * sizeof(Products), stream>>>(plan, tensors);
  sums_kernel<<<size.groups, size.merging_threads, size.merging_threads * sizeof(Products), stream>>>(plan,
                                                                                                      any);
  gradient_kernel<T, layout, width><<<size.blocks, size.threads, 0, stream>>>(plan, tensors);
}

template <class T>
Tensors<T> typed(const AnyTensors& any) {
  return {static_cast<const T*>(any.x),
          static_cast<const T*>(any.weight),
          static_cast<const T*>(any.bias),
          static_cast<const T*>(any.gradient),
          static_cast<T*>(any.result),
          any.mean,
          any.rstd,
          any.sums,
          any.totals};
}

/// Calls run.template operator()<T, layout, width>(tensors).
template <class T, class Run>
void with_layout(const Plan& plan, const AnyTensors& any, const Run& run) {
  constexpr int widest = 16 / sizeof(T);
  const bool wide = plan.width == widest;
  const auto tensors = typed<T>(any);
  if (plan.layout == Layout::planar)
    wide ? run.template operator()<T, Layout::planar, widest>(tensors)
         : run.template operator()<T, Layout::planar, 1>(tensors);
  else
    wide ? run.template operator()<T, Layout::channels_last, widest>(tensors)
         : run.template operator()<T, Layout::channels_last, 1>(tensors);
}

template <class Run>
void with_types(c10::ScalarType dtype, const Plan& plan, const AnyTensors& any, const Run& run) {
  if (dtype == c10::kFloat) return with_layout<float>(plan, any, run);
  if (dtype == c10::kHalf) return with_layout<c10::Half>(plan, any, run);
  with_layout<c10::BFloat16>(plan, any, run);
}

}  // namespace

void launch_group_norm(c10::ScalarType dtype, const Plan& plan, const AnyTensors& tensors, float eps,
                       cudaStream_t stream) {
  with_types(dtype, plan, tensors, [&]<class T, Layout layout, int width>(const Tensors<T>& typed) {
    forward<T, layout, width>(plan, typed, tensors, eps, stream);
  });
}

void launch_group_norm_backward(c10::ScalarType dtype, const Plan& plan, const AnyTensors& tensors,
                                cudaStream_t stream) {
  with_types(dtype, plan, tensors, [&]<class T, Layout layout, int width>(const Tensors<T>& typed) {
    backward<T, layout, width>(plan, typed, tensors, stream);
  });
}

}  // namespace reno::kernels
