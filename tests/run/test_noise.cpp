#include <ATen/ATen.h>

#include <catch2/catch.hpp>
#include <set>

#include "reno/run/noise.hpp"

namespace {

using namespace reno;

TEST_CASE("a prompt's noise depends on seed and index only", "[noise]") {
  NoiseSource a(7, 3, {4, 8, 8});
  NoiseSource b(7, 3, {4, 8, 8});
  const at::Tensor first = a.draw();
  CHECK(first.sizes() == at::IntArrayRef({1, 4, 8, 8}));
  CHECK(first.scalar_type() == at::kFloat);
  CHECK(at::equal(first, b.draw()));
  CHECK_FALSE(at::equal(first, a.draw()));
}

TEST_CASE("neighbouring seeds and indices have streams of their own", "[noise]") {
  std::set<std::uint64_t> seeds;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    for (std::uint64_t index = 0; index < 50; ++index) seeds.insert(prompt_seed(seed, index));
  }
  CHECK(seeds.size() == 2500);
  CHECK(prompt_seed(42, 0) == 42);
}

}  // namespace
