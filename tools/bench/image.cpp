// The resize that all rewards share: forward and back.
#include <ATen/ATen.h>
#include <benchmark/benchmark.h>

#include "reno/image/preprocess.hpp"

namespace {

using namespace reno;

void preprocess_and_back(benchmark::State& state, at::ScalarType dtype) {
  const auto size = state.range(0);
  const auto images = at::rand({1, 3, size, size}).to(dtype);
  for (auto _ : state) {
    const auto leaf = images.detach().requires_grad_();
    const auto pixels = preprocess(leaf, {});
    pixels.backward(at::ones_like(pixels));
    benchmark::DoNotOptimize(leaf.grad());
  }
}
BENCHMARK_CAPTURE(preprocess_and_back, float32, at::kFloat)
    ->Arg(512)
    ->Arg(1024)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(preprocess_and_back, bfloat16, at::kBFloat16)
    ->Arg(512)
    ->Arg(1024)
    ->Unit(benchmark::kMillisecond);

}  // namespace
