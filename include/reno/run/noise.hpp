// Initial noise. It is drawn on the CPU in float32 whatever the run's device and dtype, so that a seed means
// the same numbers everywhere; for the first prompt they are those of Python's `torch.manual_seed(seed);
// torch.randn(1, C, H, W)`.
#pragma once

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/randn.h>

#include <cstdint>
#include <vector>

namespace reno {

/// The seed of one prompt's random stream: depends on the run's seed and the prompt's index only, never on
/// batches or on what ran before. The first prompt has the run's seed itself; the others are mixed by
/// SplitMix64 (Steele, Lea, Flood 2014), so that neighbouring seeds and indices share no stream.
inline std::uint64_t prompt_seed(std::uint64_t seed, std::uint64_t prompt_index) {
  if (prompt_index == 0) return seed;
  std::uint64_t mixed = seed ^ (prompt_index * 0x9e3779b97f4a7c15ULL);
  mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9ULL;
  mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebULL;
  return mixed ^ (mixed >> 31);
}

/// The random stream of one prompt.
class NoiseSource {
 public:
  /// shape: of one image's noise, without the batch.
  NoiseSource(std::uint64_t seed, std::uint64_t prompt_index, std::vector<std::int64_t> shape)
      : generator_(at::detail::createCPUGenerator(prompt_seed(seed, prompt_index))),
        shape_(std::move(shape)) {
    shape_.insert(shape_.begin(), 1);
  }

  /// The next noise, (1, ...) float32 on the CPU.
  at::Tensor draw() { return at::randn(shape_, generator_, at::TensorOptions(at::kFloat)); }

  /// How far the stream has been drawn, as bytes; `restore` puts it there again.
  at::Tensor state() const { return generator_.get_state(); }
  void restore(const at::Tensor& state) { generator_.set_state(state.clone()); }

 private:
  at::Generator generator_;
  std::vector<std::int64_t> shape_;
};

}  // namespace reno
