// The contract of reno/concepts.hpp, held over every reward that the built plugins register: a reward that is
// new has to be given small weights here before these tests pass.
#include "plugins/reward_checks.hpp"
#include "reno/experiment/toml.hpp"
#include "reno/experiment/write_toml.hpp"
#include "reno/objective.hpp"
#include "support/fakes.hpp"
#include "support/plugins.hpp"

namespace {

using namespace reno;
using namespace reno::test;

const Registry& registry() { return plugin_registry(); }

struct SmallReward {
  std::string options;        ///< as an experiment has them
  double bfloat16_tolerance;  ///< of a score
};

/// Each reward with small weights.
const std::map<std::string, SmallReward>& small_rewards() {
  const std::string goldens = RENO_TEST_DATA "/goldens/a/rewards/";
  const auto weights = [&](const std::string& folder) { return "weights = \"" + goldens + folder + "\"\n"; };
  static const std::map<std::string, SmallReward> rewards = {
      {"aesthetic", {weights("aesthetic") + "clip = \"" + goldens + "aesthetic/ViT-L-14.pt\"\n", 0.02}},
      {"clip-score", {weights("clip"), 2.0}},
      {"hpsv2", {weights("hpsv2"), 0.02}},
      {"imagereward", {weights("imagereward"), 0.2}},
      {"pickscore", {weights("pickscore"), 2.0}},
      {"shapes-judge", {"verdict = \"partial\"\n", 1e-3}},
      {"torchscript",
       {"module = \"" RENO_TEST_DATA "/torchscript/encoded.pt\"\nsize = 20\nlength = 12\n" +
            ("tokenizer = \"" + goldens + "clip\"\n"),
        0.02}},
  };
  return rewards;
}

AnyReward make_reward(const std::string& name, const Context& context) {
  const auto text =
      fmt::format("[generator]\nplugin = \"sd-turbo\"\n[[reward]]\nplugin = \"{}\"\nweight = 1\n{}", name,
                  small_rewards().at(name).options);
  const Experiment experiment = parse_experiment(text, "contract.toml", registry());
  return registry().rewards.at(name).create(experiment.rewards.at(0).options, context);
}

/// What every reward understands, the one of the shapes world included; half of it is true of the pictures.
const Prompts prompts = {"a photo of a red circle", "a photo of a red circle", "a red square left of a cross",
                         "two blue squares"};

at::Tensor pixels_for(const AnyReward& reward) {
  return preprocess(shapes_pictures().to(at::kDouble), reward.preprocess());
}

/// Runs `check` for every registered reward, each under its name.
template <class Check>
void for_each_reward(const Check& check) {
  for (const auto& [name, entry] : registry().rewards) {
    INFO(name);
    check(name, entry);
  }
}

}  // namespace

TEST_CASE("every registered reward is held to the contract", "[contract]") {
  std::vector<std::string> names;
  for (const auto& [name, reward] : small_rewards()) names.push_back(name);
  CHECK(registry().rewards.names() == names);
}

TEST_CASE("contract: a batch of N equals N singles", "[contract]") {
  for_each_reward([](const std::string& name, const auto&) {
    AnyReward reward = make_reward(name, LoggedContext(at::kDouble));
    check_batch(reward, pixels_for(reward), prompts);
  });
}

TEST_CASE("contract: dtypes and devices are kept, and half precision comes near float64", "[contract]") {
  for_each_reward([&](const std::string& name, const auto&) {
    const auto make = [&](const Context& context) { return make_reward(name, context); };
    const AnyReward reward = make(LoggedContext(at::kDouble));
    check_dtypes_and_devices(make, pixels_for(reward), prompts, small_rewards().at(name).bfloat16_tolerance);
  });
}

TEST_CASE("contract: gradients agree with finite differences, and a black box has none", "[contract]") {
  for_each_reward([](const std::string& name, const auto&) {
    AnyReward reward = make_reward(name, LoggedContext(at::kDouble));
    const at::Tensor pixels = pixels_for(reward);
    if (reward.differentiable()) return check_gradient(reward, pixels, prompts);
    CHECK_FALSE(reward.score(pixels.requires_grad_(true), reward.encode(prompts)).requires_grad());
  });
}

TEST_CASE("contract: every memory mode gives the same scores and gradients", "[contract]") {
  for_each_reward([](const std::string& name, const auto&) {
    const auto measure = [&](MemoryMode memory, at::Device device = at::kCPU) {
      LoggedContext context(at::kDouble, device);
      context.memory = memory;
      const AnyReward reward = make_reward(name, context);
      const at::Tensor pixels = pixels_for(reward).to(device).requires_grad_(reward.differentiable());
      const at::Tensor scores = reward.score(pixels, reward.encode(prompts));
      if (reward.differentiable()) scores.sum().backward();
      return std::pair(scores.detach(), pixels.grad());
    };
    const auto [scores, gradient] = measure(MemoryMode::fast);
    for (const auto memory : {MemoryMode::balanced, MemoryMode::lean}) {
      const auto [other_scores, other_gradient] = measure(memory);
      CHECK(at::equal(other_scores, scores));
      if (gradient.defined()) CHECK(at::equal(other_gradient, gradient));
    }
    const auto device = gpu();
    if (!device) return;
    for (const auto memory : {MemoryMode::fast, MemoryMode::balanced, MemoryMode::lean}) {
      const auto [other_scores, other_gradient] = measure(memory, *device);
      check_relative_norm(name + " scores on a GPU", other_scores, scores, 1e-10);
      if (gradient.defined())
        check_relative_norm(name + " gradient on a GPU", other_gradient, gradient, 1e-10);
    }
  });
}

TEST_CASE("contract: with weight 0 a reward is scored, and no gradient is taken of it", "[contract]") {
  for_each_reward([](const std::string& name, const auto&) {
    const auto measure = [&](bool monitored) {
      std::vector<WeightedReward> rewards;
      rewards.push_back(
          {"square", 1.0, AnyReward(std::make_unique<SquareReward>(-1.0, 8, nullptr, nullptr))});
      if (monitored) rewards.push_back({name, 0.0, make_reward(name, LoggedContext())});
      const Objective objective(AnyGenerator(std::make_unique<SigmoidGenerator>(nullptr)), std::move(rewards),
                                0.01);
      at::manual_seed(1);
      return objective.measure(at::randn({4, 3, 8, 8}), objective.encode(prompts), true);
    };
    const Measurement with = measure(true);
    const Measurement without = measure(false);
    CHECK(at::isfinite(with.scores.at(1)).all().item<bool>());
    CHECK(with.gradient_norms.at(1).eq(0).all().item<bool>());
    CHECK(at::equal(with.total, without.total));
    CHECK(at::equal(with.gradient, without.gradient));
  });
}

namespace {

/// Some value of the option that differs from the present one and is allowed.
OptionValue another_value(const Option& option) {
  const OptionValue present = option.get();
  const auto within = [&](double wish) {
    const auto range = option.bounds.value_or(bounds{});
    return std::clamp(wish, range.low, range.high);
  };
  const auto* number = std::get_if<double>(&present);
  const auto* integer = std::get_if<std::int64_t>(&present);
  switch (option.type) {
    case OptionType::boolean:
      return present != OptionValue(true);
    case OptionType::integer:
      return static_cast<std::int64_t>(within(integer != nullptr ? static_cast<double>(*integer) + 1 : 3));
    case OptionType::number:
      return within(number != nullptr ? *number + 0.125 : 0.3);
    case OptionType::integers:
      return std::vector<std::int64_t>{5, -7};
    case OptionType::numbers:
      return std::vector<double>{within(0.1), within(1e-30), within(2)};
    case OptionType::strings:
      return std::vector<std::string>{"", "a \"b\"\n"};
    default:
      return option.choices.empty() ? "an \"other\\ pläce" : option.choices.back();
  }
}

/// Sets every option to something else, writes the experiment and reads it back.
template <class Handle, class Place>
void check_round_trip(const Catalogue<Handle>& catalogue, const Place& place) {
  for (const auto& [name, entry] : catalogue) {
    INFO(catalogue.kind() << " " << name);
    Experiment experiment =
        parse_experiment("[generator]\nplugin = \"sd-turbo\"\n[[reward]]\nplugin = \"clip-score\"\n",
                         "contract.toml", registry());
    AnyOptions options = entry.options();
    for (Option& option : options.fields()) {
      INFO(option.key);
      const OptionValue value = another_value(option);
      option.set(value);
      CHECK(option.get() == value);
    }
    place(experiment, name, options);
    const std::string text = write_toml(experiment);
    INFO(text);
    CHECK(parse_experiment(text, "contract.toml", registry()) == experiment);
  }
}

}  // namespace

TEST_CASE("contract: the options of every component survive the resolved experiment", "[contract]") {
  check_round_trip(registry().generators, [](Experiment& experiment, const auto& name, const auto& options) {
    experiment.generator = {name, options};
  });
  check_round_trip(registry().rewards, [](Experiment& experiment, const auto& name, const auto& options) {
    experiment.rewards.at(0) = {name, "another name", 0.25, options};
  });
  check_round_trip(registry().optimizers, [](Experiment& experiment, const auto& name, const auto& options) {
    experiment.optimizer = {name, options};
  });
}
