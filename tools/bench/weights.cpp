// Loading: a mapped file costs what is touched, a conversion costs what is converted.
#include "reno/io/weights.hpp"

#include <ATen/ATen.h>
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <string>

#include "reno/io/checkpoint.hpp"
#include "reno/io/safetensors.hpp"

namespace {

using namespace reno;
namespace fs = std::filesystem;

constexpr int layers = 32;
constexpr std::int64_t width = 1024;

/// A checkpoint of 128 MiB in float32, removed at the end.
class Checkpoint {
 public:
  Checkpoint()
      : file_(fs::temp_directory_path() / ("reno-bench-" + std::to_string(::getpid()) + ".safetensors")) {
    std::map<std::string, at::Tensor> tensors;
    for (int i = 0; i < layers; ++i)
      tensors["layers." + std::to_string(i) + ".weight"] = at::ones({width, width});
    write_safetensors(file_, tensors);
  }
  ~Checkpoint() { fs::remove(file_); }
  const fs::path& file() const { return file_; }

 private:
  fs::path file_;
};

const fs::path& checkpoint() {
  static const Checkpoint checkpoint;
  return checkpoint.file();
}

void load(benchmark::State& state, at::ScalarType dtype) {
  const auto file = checkpoint();
  for (auto _ : state) {
    const Weights weights(open_safetensors(file), at::kCPU, dtype);
    for (int i = 0; i < layers; ++i)
      benchmark::DoNotOptimize((weights / "layers" / i).get("weight", {width, width}));
  }
  state.SetBytesProcessed(state.iterations() * layers * width * width * 4);
}
BENCHMARK_CAPTURE(load, float32_as_it_is, at::kFloat)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(load, float32_to_bfloat16, at::kBFloat16)->Unit(benchmark::kMicrosecond);

}  // namespace
