// Frozen building blocks: plain structs of tensors that are built from a `Weights` scope (loading is
// construction) and applied by calling them. Nothing here has a training mode, random initialisation or a
// parameter that wants a gradient. Names and checkpoint keys are those of torch.nn.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/rms_norm.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/tanh.h>
#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <utility>

#include "reno/error.hpp"
#include "reno/io/weights.hpp"
#include "reno/nn/attention.hpp"
#include "reno/nn/convolution.hpp"
#include "reno/nn/group_norm.hpp"
#include "reno/nn/layout.hpp"

namespace reno::nn {

/// Whether a layer has a bias: it must, must not, or has one if the checkpoint does.
enum class Bias { yes, no, if_stored };

namespace detail {
inline at::Tensor bias_of(const Weights& w, std::int64_t size, Bias bias) {
  const bool wanted = bias == Bias::yes || (bias == Bias::if_stored && w.has("bias"));
  return wanted ? w.get("bias", {size}) : at::Tensor{};
}

inline at::Tensor kernel_of(const Weights& w, std::int64_t in, std::int64_t out, std::int64_t size) {
  const auto layout = kernel_layout(w.works_on(), w.dtype());
  if (size != 3 || layout == at::MemoryFormat::Contiguous) return w.get("weight", {out, in, size, size});
  return w.derive("weight", {out, in, size, size},
                  [layout](const at::Tensor& kernel) { return kernel.contiguous(layout); });
}
}  // namespace detail

/// y = x Wᵀ + b over the last dimension.
struct Linear {
  at::Tensor weight;  ///< (out, in)
  at::Tensor bias;    ///< (out), or undefined

  Linear(const Weights& w, std::int64_t in, std::int64_t out, Bias with_bias = Bias::yes)
      : weight(w.get("weight", {out, in})), bias(detail::bias_of(w, out, with_bias)) {}
  Linear(at::Tensor weight, at::Tensor bias) : weight(std::move(weight)), bias(std::move(bias)) {}

  at::Tensor operator()(const at::Tensor& x) const { return at::linear(x, weight, bias); }
};

/// Convolution with a square kernel; x (N, in, H, W).
struct Conv2d {
  at::Tensor weight;  ///< (out, in, kernel, kernel)
  at::Tensor bias;    ///< (out), or undefined
  std::int64_t stride;
  std::int64_t padding;

  Conv2d(const Weights& w, std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride = 1,
         std::int64_t padding = 0, Bias with_bias = Bias::yes)
      : weight(detail::kernel_of(w, in, out, kernel)),
        bias(detail::bias_of(w, out, with_bias)),
        stride(stride),
        padding(padding) {}

  at::Tensor operator()(const at::Tensor& x) const { return nn::conv2d(x, weight, bias, stride, padding); }
};

/// Normalises the last dimension. Statistics are computed in float32 for half-precision input.
struct LayerNorm {
  at::Tensor weight;  ///< (size), or undefined
  at::Tensor bias;    ///< (size), or undefined
  std::int64_t size;
  double eps;

  LayerNorm(const Weights& w, std::int64_t size, double eps)
      : weight(w.get("weight", {size})), bias(w.get("bias", {size})), size(size), eps(eps) {}
  /// Without scale and shift (diffusers: elementwise_affine=False).
  LayerNorm(std::int64_t size, double eps) : size(size), eps(eps) {}

  at::Tensor operator()(const at::Tensor& x) const { return at::layer_norm(x, {size}, weight, bias, eps); }
};

/// Normalises groups of channels; x (N, channels, ...).
struct GroupNorm {
  at::Tensor weight;  ///< (channels)
  at::Tensor bias;    ///< (channels)
  std::int64_t groups;
  double eps;

  GroupNorm(const Weights& w, std::int64_t channels, std::int64_t groups, double eps)
      : weight(w.get("weight", {channels})), bias(w.get("bias", {channels})), groups(groups), eps(eps) {}

  at::Tensor operator()(const at::Tensor& x) const {
    return nn::group_norm(x, weight, bias, groups, eps, /*silu=*/false);
  }
};

/// silu(norm(x)), in one.
inline at::Tensor norm_silu(const GroupNorm& norm, const at::Tensor& x) {
  return group_norm(x, norm.weight, norm.bias, norm.groups, norm.eps, /*silu=*/true);
}

/// x / sqrt(mean(x²) + eps) · weight over the last dimension (Zhang & Sennrich 2019).
struct RMSNorm {
  at::Tensor weight;  ///< (size)
  double eps;

  RMSNorm(const Weights& w, std::int64_t size, double eps) : weight(w.get("weight", {size})), eps(eps) {}

  at::Tensor operator()(const at::Tensor& x) const { return at::rms_norm(x, weight.sizes(), weight, eps); }
};

/// Rows of a table, by int64 index.
struct Embedding {
  at::Tensor weight;  ///< (count, size)

  Embedding(const Weights& w, std::int64_t count, std::int64_t size)
      : weight(w.get("weight", {count, size})) {}

  at::Tensor operator()(const at::Tensor& ids) const { return at::embedding(weight, ids); }
};

/// An elementwise function, chosen by the name that a model's configuration gives it.
using Activation = at::Tensor (*)(const at::Tensor&);

/// x · sigmoid(1.702 x): OpenAI's approximation of gelu.
inline at::Tensor quick_gelu(const at::Tensor& x) { return at::mul(x, at::sigmoid(at::mul(x, 1.702))); }

/// The activations of transformers (ACT2FN) and diffusers by name. Throws LoadError for any other name.
inline Activation activation(const std::string& name) {
  if (name == "quick_gelu") return quick_gelu;
  if (name == "gelu") return [](const at::Tensor& x) { return at::gelu(x); };
  if (name == "gelu_new" || name == "gelu_pytorch_tanh")
    return [](const at::Tensor& x) { return at::gelu(x, "tanh"); };
  if (name == "silu" || name == "swish") return [](const at::Tensor& x) { return at::silu(x); };
  if (name == "relu") return [](const at::Tensor& x) { return at::relu(x); };
  if (name == "tanh") return [](const at::Tensor& x) { return at::tanh(x); };
  throw LoadError(fmt::format(
      "unknown activation '{}'; have: gelu, gelu_new, gelu_pytorch_tanh, quick_gelu, relu, silu, swish, tanh",
      name));
}

}  // namespace reno::nn
