#include <ATen/ATen.h>

#include <catch2/catch.hpp>

#include "reno/registry.hpp"
#include "support/fakes.hpp"

using namespace reno;
using namespace reno::test;

namespace {

struct Light : SquareReward {
  using SquareReward::SquareReward;
  static constexpr double default_weight = 0.05;
};

/// A reward whose only option has an impossible key.
template <int Case>
struct BadKey : SquareReward {
  struct Options {
    double a = 0.0, b = 0.0;
    void describe(auto& field) {
      constexpr const char* keys[][2] = {{"x", "x"}, {"weight", "x"}, {"a.b", "x"}, {"", "x"}};
      field(keys[Case][0], a, "");
      field(keys[Case][1], b, "");
    }
  };
  BadKey(const Options&, const Context& context) : SquareReward({}, context) {}
};

}  // namespace

TEST_CASE("A component's kind is the concept that it satisfies") {
  Registry registry;
  registry.add<SigmoidGenerator>("sigmoid", "A generator.");
  registry.set_origin("plugin.so");
  registry.add<SquareReward>("square", "A reward.");
  registry.add<Light>("light", "Another reward.");
  CHECK(registry.generators.names() == std::vector<std::string>{"sigmoid"});
  CHECK(registry.rewards.names() == std::vector<std::string>{"light", "square"});
  CHECK(registry.optimizers.names().empty());
  CHECK(registry.generators.at("sigmoid").origin == "built in");
  CHECK(registry.rewards.at("square").origin == "plugin.so");
  CHECK(registry.rewards.at("square").summary == "A reward.");
  CHECK(registry.rewards.at("square").default_weight == 1.0);
  CHECK(registry.rewards.at("light").default_weight == 0.05);
}

TEST_CASE("A component is made from its options") {
  Registry registry;
  registry.add<SquareReward>("square", "A reward.");
  const auto& entry = registry.rewards.at("square");
  AnyOptions options = entry.options();
  options.fields()[0].set(-2.0);
  const AnyReward reward = entry.create(options, Context{});
  const auto features = reward.encode({"1234567890"});
  CHECK(reward.score(at::zeros({1, 3, 8, 8}), features).item<double>() == -2.0);
}

TEST_CASE("Names that do not exist are refused with what there is") {
  Registry registry;
  CHECK_THROWS_WITH(registry.rewards.at("x"), "unknown reward 'x'; have: none");
  registry.add<SquareReward>("clip-score", "");
  registry.add<SquareReward>("hpsv2", "");
  CHECK_THROWS_WITH(registry.rewards.at("clp"),
                    "unknown reward 'clp', did you mean 'clip-score'?; have: clip-score, hpsv2");
  CHECK(registry.rewards.find("clp") == nullptr);
}

TEST_CASE("A name belongs to the first who takes it") {
  Registry registry;
  registry.set_origin("first.so");
  registry.add<SquareReward>("square", "");
  registry.set_origin("second.so");
  CHECK_THROWS_WITH(registry.add<Light>("square", ""),
                    "reward 'square' from second.so is already registered by first.so");
  CHECK(registry.rewards.at("square").default_weight == 1.0);
}

TEST_CASE("What came from one origin can be taken back") {
  Registry registry;
  registry.add<SquareReward>("a", "");
  registry.set_origin("bad.so");
  registry.add<SquareReward>("b", "");
  registry.add<SigmoidGenerator>("c", "");
  registry.remove_from("bad.so");
  CHECK(registry.rewards.names() == std::vector<std::string>{"a"});
  CHECK(registry.generators.names().empty());
}

TEST_CASE("Options that an experiment cannot spell are refused") {
  Registry registry;
  CHECK_THROWS_WITH(registry.add<BadKey<0>>("bad", ""),
                    "'bad' has an option 'x', which is taken: give it another key");
  CHECK_THROWS_WITH(registry.add<BadKey<1>>("bad", ""),
                    "'bad' has an option 'weight', which is taken: give it another key");
  CHECK_THROWS_WITH(registry.add<BadKey<2>>("bad", ""),
                    "'bad' has an option 'a.b': a key is made of letters, digits, '_' and '-'");
  CHECK_THROWS_WITH(registry.add<BadKey<3>>("bad", ""),
                    "'bad' has an option '': a key is made of letters, digits, '_' and '-'");
  CHECK(registry.rewards.names().empty());
}
