#include <catch2/catch.hpp>

#include "experiment/fake_registry.hpp"
#include "reno/experiment/toml.hpp"
#include "reno/experiment/write_toml.hpp"

namespace {

using namespace reno;
using namespace reno::test;

/// Refined by a base model, in 50 steps, or by itself in 4.
template <bool ByBase>
struct PublishedGenerator : FakeGenerator {
  struct Options {
    std::filesystem::path base;
    void describe(auto& field) { field("base", base, "multi-step model"); }
  };
  static constexpr PublishedRefinement published_refinement{
      .steps = ByBase ? 50 : 4, .guidance = ByBase ? 7.5 : 0.0, .by_base = ByBase};

  PublishedGenerator(const Options&, const Context& context) : FakeGenerator({}, context) {}
};

RefineOptions refine_of(const std::string& plugin, const std::string& text,
                        const std::vector<std::string>& overrides = {}) {
  Registry registry = fake_registry();
  registry.add<PublishedGenerator<true>>("by-base", "");
  registry.add<PublishedGenerator<false>>("alone", "");
  const auto experiment = parse_experiment(
      "[generator]\nplugin = \"" + plugin + "\"\n" + text + "[[reward]]\nplugin = \"hpsv2\"\n", "run.toml",
      registry, overrides);
  CHECK(parse_experiment(write_toml(experiment), "run.toml", registry) == experiment);
  return experiment.refine;
}

RefineOptions made(std::int64_t steps, double guidance, const char* generator = nullptr) {
  RefineOptions options;
  if (generator != nullptr) options.generator = generator;
  options.steps = steps;
  options.guidance = guidance;
  return options;
}

}  // namespace

TEST_CASE("A base model in [refine] and nothing else mean the published steps and guidance") {
  CHECK(refine_of("by-base", "") == made(0, 0));
  CHECK(refine_of("by-base", "[refine]\ngenerator = \"big\"\n") == made(50, 7.5, "big"));
  CHECK(refine_of("by-base", "", {"refine.generator=big"}) == made(50, 7.5, "big"));
  CHECK(refine_of("by-base", "base = \"big\"\n[refine]\n") == made(50, 7.5));
  CHECK(refine_of("by-base", "base = \"big\"\n") == made(0, 0));
  CHECK(refine_of("by-base", "[refine]\ngenerator = \"big\"\nsteps = 3\n") == made(3, 7.5, "big"));
  CHECK(refine_of("by-base", "[refine]\ngenerator = \"big\"\nguidance = 2\n") == made(50, 2, "big"));
  CHECK(refine_of("by-base", "[refine]\ngenerator = \"big\"\nsteps = 0\n") == made(0, 7.5, "big"));
}

TEST_CASE("Without a base model a distilled one has no published steps, but for one that is published so") {
  CHECK(refine_of("by-base", "[refine]\n") == made(0, 0));
  CHECK(refine_of("by-base", "[refine]\nsteps = 4\n") == made(4, 0));
  CHECK(refine_of("alone", "") == made(0, 0));
  CHECK(refine_of("alone", "[refine]\n") == made(4, 0));
  CHECK(refine_of("alone", "[refine]\nsteps = 2\n") == made(2, 0));
  CHECK(refine_of("sd-turbo", "[refine]\ngenerator = \"big\"\n") == made(0, 0, "big"));
}
