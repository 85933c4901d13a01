// Shape rules for operators that LibTorch computes nowhere without Python: its own C++ library leaves the
// meta device (tensors with a shape and no data) without layer norm, convolution and a few others. A dry run
// registers them once, and then every network runs on meta tensors unchanged, backwards too.
#pragma once

#include <ATen/ExpandUtils.h>
#include <ATen/core/Tensor.h>
#include <ATen/native/ConvUtils.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <array>
#include <cstdint>
#include <optional>
#include <tuple>

namespace reno {

namespace detail::meta {

using OptionalTensor = std::optional<at::Tensor>;
using Three = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

inline Three layer_norm(const at::Tensor& x, at::IntArrayRef normalized, const OptionalTensor&,
                        const OptionalTensor&, double) {
  auto statistics = x.sizes().vec();
  for (auto i = statistics.size() - normalized.size(); i < statistics.size(); ++i) statistics[i] = 1;
  return {at::empty_like(x), at::empty(statistics, x.options()), at::empty(statistics, x.options())};
}

inline Three layer_norm_backward(const at::Tensor&, const at::Tensor& x, at::IntArrayRef, const at::Tensor&,
                                 const at::Tensor&, const OptionalTensor& weight, const OptionalTensor& bias,
                                 std::array<bool, 3> wanted) {
  return {wanted[0] ? at::empty_like(x) : at::Tensor{}, wanted[1] ? at::empty_like(*weight) : at::Tensor{},
          wanted[2] ? at::empty_like(*bias) : at::Tensor{}};
}

inline Three group_norm(const at::Tensor& x, const OptionalTensor&, const OptionalTensor&, std::int64_t batch,
                        std::int64_t, std::int64_t, std::int64_t groups, double) {
  return {at::empty_like(x), at::empty({batch, groups}, x.options()),
          at::empty({batch, groups}, x.options())};
}

inline Three group_norm_backward(const at::Tensor&, const at::Tensor& x, const at::Tensor&, const at::Tensor&,
                                 const OptionalTensor&, std::int64_t, std::int64_t channels, std::int64_t,
                                 std::int64_t, std::array<bool, 3> wanted) {
  const auto parameter = [&](bool needed) {
    return needed ? at::empty({channels}, x.options()) : at::Tensor{};
  };
  return {wanted[0] ? at::empty_like(x) : at::Tensor{}, parameter(wanted[1]), parameter(wanted[2])};
}

inline at::Tensor convolution(const at::Tensor& x, const at::Tensor& weight, const OptionalTensor&,
                              at::IntArrayRef stride, at::IntArrayRef padding, at::IntArrayRef dilation,
                              bool transposed, at::IntArrayRef output_padding, std::int64_t groups) {
  const auto sizes = transposed
                         ? at::native::conv_input_size(x.sizes(), weight.sizes(), padding, output_padding,
                                                       stride, dilation, groups)
                         : at::native::conv_output_size(x.sizes(), weight.sizes(), padding, stride, dilation);
  return at::empty(sizes, x.options());
}

inline Three convolution_backward(const at::Tensor& grad, const at::Tensor& x, const at::Tensor& weight,
                                  at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, bool, at::IntArrayRef,
                                  std::int64_t, std::array<bool, 3> wanted) {
  return {wanted[0] ? at::empty_like(x) : at::Tensor{}, wanted[1] ? at::empty_like(weight) : at::Tensor{},
          wanted[2] ? at::empty({grad.size(1)}, x.options()) : at::Tensor{}};
}

inline at::Tensor index_select(const at::Tensor& x, std::int64_t dim, const at::Tensor& index) {
  auto sizes = x.sizes().vec();
  sizes.at(static_cast<std::size_t>(at::maybe_wrap_dim(dim, x.dim()))) = index.numel();
  return at::empty(sizes, x.options());
}

inline at::Tensor where(const at::Tensor& condition, const at::Tensor& x, const at::Tensor& y) {
  const auto sizes = at::infer_size(condition.sizes(), at::infer_size(x.sizes(), y.sizes()));
  return at::empty(sizes, x.options().dtype(at::promote_types(x.scalar_type(), y.scalar_type())));
}

inline at::Tensor& where_out(const at::Tensor& condition, const at::Tensor& x, const at::Tensor& y,
                             at::Tensor& out) {
  out.resize_(at::infer_size(condition.sizes(), at::infer_size(x.sizes(), y.sizes())));
  return out;
}

inline at::Tensor& logical_and_out(const at::Tensor& x, const at::Tensor& y, at::Tensor& out) {
  out.resize_(at::infer_size(x.sizes(), y.sizes()));
  return out;
}

}  // namespace detail::meta

/// Makes the meta device complete enough for the networks of this project. For programs and tests, before a
/// component is built on meta; a plugin need not call it. Repeated calls do nothing.
inline void register_meta_kernels() {
  namespace meta = detail::meta;
  static const auto library = [] {
    torch::Library aten(torch::Library::IMPL, "aten", c10::DispatchKey::Meta, __FILE__, __LINE__);
    aten.impl("native_layer_norm", meta::layer_norm);
    aten.impl("native_layer_norm_backward", meta::layer_norm_backward);
    aten.impl("native_group_norm", meta::group_norm);
    aten.impl("native_group_norm_backward", meta::group_norm_backward);
    aten.impl("convolution_overrideable", meta::convolution);
    aten.impl("convolution_backward_overrideable", meta::convolution_backward);
    aten.impl("index_select", meta::index_select);
    aten.impl("where.self", meta::where);
    aten.impl("where.self_out", meta::where_out);
    aten.impl("logical_and.out", meta::logical_and_out);
    return aten;
  }();
}

}  // namespace reno
