#include <ATen/ATen.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "reno/run/noise.hpp"
#include "support/golden.hpp"

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

TEST_CASE("the first prompt's noise is what Python draws from its seed: latents, and FLUX's packed tokens",
          "[noise][goldens]") {
  for (const std::string generator : {"sd-turbo", "pixart", "sdxl-turbo", "hyper-sd", "flux-schnell"})
    for (const auto& golden : test::goldens("generators/" + generator)) {
      INFO(golden.name);
      const auto expected = golden["latents"];
      NoiseSource noise(golden.json["latents"]["manual_seed"], 0, expected.sizes().slice(1).vec());
      CHECK(at::equal(noise.draw(), expected));
    }
}

}  // namespace
