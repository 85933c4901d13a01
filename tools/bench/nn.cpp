// The blocks that an iteration spends its time in, forward and back, beside what autograd alone would do.
#include <ATen/ATen.h>
#include <benchmark/benchmark.h>

#include <boost/dll/runtime_symbol_info.hpp>
#include <stdexcept>

#include "reno/nn/modules.hpp"
#include "reno/nn/resnet.hpp"
#include "reno/plugin_loader.hpp"

namespace {

using namespace reno;

/// Applies `f` to x and goes back through it, as often as the benchmark wants.
template <class F>
void there_and_back(benchmark::State& state, const at::Tensor& x, const F& f) {
  for (auto _ : state) {
    const auto leaf = x.detach().requires_grad_();
    const auto y = f(leaf);
    y.backward(at::ones_like(y));
    benchmark::DoNotOptimize(leaf.grad());
  }
}

/// The operators that channels-last feature maps need, from the build tree.
void load_operators() {
  static const auto status = [] {
    Registry registry;
    const auto root = boost::dll::program_location().parent_path().parent_path();
    return load_kernels(root.string() + "/lib/reno/kernels", at::kCPU, registry);
  }();
  if (!status || !status->refusal.empty()) throw std::runtime_error("the CPU's operators were not loaded");
}

Weights random_weights(at::ScalarType dtype) { return Weights::random(0, at::kCPU, dtype); }

at::Tensor feature_map(std::int64_t channels, std::int64_t side, at::ScalarType dtype,
                       at::MemoryFormat layout) {
  load_operators();
  return at::randn({1, channels, side, side}).to(dtype).contiguous(layout);
}

constexpr auto planar = at::MemoryFormat::Contiguous;
constexpr auto interleaved = at::MemoryFormat::ChannelsLast;

/// 128 channels, as at the decoder's finest level.
void norm_silu(benchmark::State& state, bool frozen, at::ScalarType dtype, at::MemoryFormat layout) {
  const nn::GroupNorm norm(random_weights(dtype), 128, 32, 1e-6);
  there_and_back(state, feature_map(128, state.range(0), dtype, layout),
                 [&](const at::Tensor& x) { return frozen ? nn::norm_silu(norm, x) : at::silu(norm(x)); });
}
BENCHMARK_CAPTURE(norm_silu, frozen, true, at::kFloat, planar)->Arg(256)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(norm_silu, autograd, false, at::kFloat, planar)->Arg(256)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(norm_silu, frozen_channels_last, true, at::kFloat, interleaved)
    ->Arg(256)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(norm_silu, frozen_bfloat16, true, at::kBFloat16, planar)
    ->Arg(256)
    ->Unit(benchmark::kMillisecond);

void convolution(benchmark::State& state, bool frozen, at::ScalarType dtype, at::MemoryFormat layout) {
  const nn::Conv2d conv(random_weights(dtype), 128, 128, 3, 1, 1);
  const auto weight = conv.weight.contiguous(layout);
  there_and_back(state, feature_map(128, state.range(0), dtype, layout), [&](const at::Tensor& x) {
    return frozen ? nn::conv2d(x, weight, conv.bias, 1, 1) : at::conv2d(x, weight, conv.bias, 1, 1);
  });
}
BENCHMARK_CAPTURE(convolution, frozen, true, at::kFloat, planar)->Arg(128)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(convolution, autograd, false, at::kFloat, planar)->Arg(128)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(convolution, frozen_channels_last, true, at::kFloat, interleaved)
    ->Arg(128)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(convolution, frozen_bfloat16, true, at::kBFloat16, planar)
    ->Arg(128)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(convolution, frozen_bfloat16_channels_last, true, at::kBFloat16, interleaved)
    ->Arg(128)
    ->Unit(benchmark::kMillisecond);

/// Between the decoder's levels.
void upsampled_convolution(benchmark::State& state, bool enlarged_first, at::ScalarType dtype) {
  const std::int64_t channels = state.range(0), side = state.range(1);
  const nn::Conv2d conv(random_weights(dtype), channels, channels, 3, 1, 1);
  there_and_back(state, feature_map(channels, side, dtype, interleaved), [&](const at::Tensor& x) {
    return enlarged_first ? conv(at::upsample_nearest2d(x, {2 * side, 2 * side}))
                          : nn::upsampled_conv2d(x, conv.weight, conv.bias, 2 * side, 2 * side);
  });
}
/// Channels and side.
void between_levels(benchmark::internal::Benchmark* convolution) {
  convolution->Args({512, 64})->Args({512, 128})->Args({256, 256})->Unit(benchmark::kMillisecond);
}
BENCHMARK_CAPTURE(upsampled_convolution, float32, false, at::kFloat)->Apply(between_levels);
BENCHMARK_CAPTURE(upsampled_convolution, float32_enlarged_first, true, at::kFloat)->Apply(between_levels);
BENCHMARK_CAPTURE(upsampled_convolution, bfloat16, false, at::kBFloat16)->Apply(between_levels);
BENCHMARK_CAPTURE(upsampled_convolution, bfloat16_enlarged_first, true, at::kBFloat16)->Apply(between_levels);

void resnet_block(benchmark::State& state, at::ScalarType dtype, at::MemoryFormat layout) {
  const nn::ResnetBlock2D block(random_weights(dtype), 256, 128, {32, 1e-6});
  there_and_back(state, feature_map(256, state.range(0), dtype, layout),
                 [&](const at::Tensor& x) { return block(x); });
}
BENCHMARK_CAPTURE(resnet_block, float32, at::kFloat, planar)->Arg(128)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(resnet_block, float32_channels_last, at::kFloat, interleaved)
    ->Arg(128)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(resnet_block, bfloat16, at::kBFloat16, planar)->Arg(128)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(resnet_block, bfloat16_channels_last, at::kBFloat16, interleaved)
    ->Arg(128)
    ->Unit(benchmark::kMillisecond);

at::Tensor libtorch_attention(const at::Tensor& x, std::int64_t heads) {
  const auto split = x.unflatten(-1, {heads, -1}).transpose(1, 2);
  return at::scaled_dot_product_attention(split, split, split).transpose(1, 2).flatten(2);
}

void attention(benchmark::State& state, bool libtorch, at::ScalarType dtype) {
  load_operators();
  const std::int64_t heads = state.range(1);
  const auto tokens = at::randn({1, state.range(0), heads * state.range(2)}).to(dtype);
  there_and_back(state, tokens, [&](const at::Tensor& x) {
    return libtorch ? libtorch_attention(x, heads) : nn::attention(x, x, x, heads);
  });
}

/// Tokens, heads and their width: a layer of ViT-H/14, of the finest level of a UNet, of the decoder.
void of_networks(benchmark::internal::Benchmark* attention) {
  attention->Args({257, 16, 80})->Args({4096, 5, 64})->Args({4096, 1, 512})->Unit(benchmark::kMillisecond);
}
BENCHMARK_CAPTURE(attention, float32, false, at::kFloat)->Apply(of_networks);
BENCHMARK_CAPTURE(attention, bfloat16, false, at::kBFloat16)->Apply(of_networks);
BENCHMARK_CAPTURE(attention, bfloat16_libtorch, true, at::kBFloat16)->Apply(of_networks);

}  // namespace
