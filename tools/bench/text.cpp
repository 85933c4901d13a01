// Tokenisers: how long a prompt takes, and how long loading one does.
#include <benchmark/benchmark.h>

#include <filesystem>

#include "reno/text/clip_tokenizer.hpp"
#include "reno/text/wordpiece_tokenizer.hpp"

namespace {

using namespace reno;
namespace fs = std::filesystem;

constexpr const char* prompt =
    "A photo of a red panda wearing a tiny space suit, sitting on the moon &amp; looking at the Earth, "
    "35mm film, highly detailed";

const fs::path clip_full = fs::path(RENO_TEST_DATA) / "text/clip_full";

void clip_tokenizer(benchmark::State& state, ClipTextStyle style) {
  const auto tokenizer = ClipTokenizer::from_directory(clip_full, style);
  for (auto _ : state) benchmark::DoNotOptimize(tokenizer.encode(prompt));
}
BENCHMARK_CAPTURE(clip_tokenizer, transformers, ClipTextStyle::transformers)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(clip_tokenizer, open_clip, ClipTextStyle::open_clip)->Unit(benchmark::kMicrosecond);

void load_clip_tokenizer(benchmark::State& state) {
  for (auto _ : state)
    benchmark::DoNotOptimize(ClipTokenizer::from_directory(clip_full, ClipTextStyle::transformers));
}
BENCHMARK(load_clip_tokenizer)->Unit(benchmark::kMillisecond);

void wordpiece_tokenizer(benchmark::State& state) {
  const auto tokenizer = WordPieceTokenizer::from_file(fs::path(RENO_TEST_DATA) / "text/wordpiece_vocab.txt");
  for (auto _ : state) benchmark::DoNotOptimize(tokenizer.encode(prompt, 35));
}
BENCHMARK(wordpiece_tokenizer)->Unit(benchmark::kMicrosecond);

}  // namespace
