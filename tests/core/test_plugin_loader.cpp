#include <ATen/ops/zeros.h>

#include <catch2/catch.hpp>
#include <fstream>

#include "reno/plugin_loader.hpp"
#include "reno/run/context.hpp"

namespace {

using namespace reno;
using Catch::Contains;

const std::filesystem::path fixtures = std::filesystem::path(RENO_BUILD_DIR) / "tests/fixtures/plugins";

std::filesystem::path fixture(const std::string& name) { return fixtures / name / ("lib" + name + ".so"); }

std::string refusal(const std::string& name) {
  Registry registry;
  REQUIRE(std::filesystem::exists(fixture(name)));
  const auto status = load_plugin(fixture(name), registry);
  CHECK(registry.rewards.names().empty());
  CHECK_THAT(status.refusal, Contains(fixture(name).string() + ": plugin refused: "));
  return status.refusal;
}

double score(const Registry& registry, const std::string& name) {
  const auto& entry = registry.rewards.at(name);
  const AnyReward reward = entry.create(entry.options(), Context{});
  return reward.score(at::zeros({1, 3, 4, 4}), reward.encode({"x"})).item<double>();
}

TEST_CASE("a good plugin installs itself", "[plugin]") {
  Registry registry;
  const auto status = load_plugin(fixture("good"), registry);
  CHECK(status.refusal.empty());
  CHECK(status.name == "good");
  const auto& entry = registry.rewards.at("good");
  CHECK(entry.summary == "Scores 1.");
  CHECK(entry.origin == fixture("good").string());
  CHECK(entry.options().fields().at(0).key == "value");
}

TEST_CASE("plugins with equal symbol names do not shadow each other", "[plugin]") {
  Registry registry;
  load_plugin(fixture("good"), registry);
  load_plugin(fixture("same-symbols"), registry);
  CHECK(score(registry, "good") == 1.0);
  CHECK(score(registry, "same-symbols") == 2.0);
}

TEST_CASE("each reason to refuse a plugin has its own sentence", "[plugin]") {
  CHECK_THAT(refusal("no-entry-point"),
             Contains("it has no entry point reno_plugin(): define it with RENO_PLUGIN"));
  CHECK_THAT(refusal("not-a-description"), Contains("reno_plugin() does not return a plugin description"));
  CHECK_THAT(refusal("wrong-api-version"),
             Contains("it has plugin API version 999, this program has 2: rebuild"));
  CHECK_THAT(refusal("wrong-build"),
             Contains("it was built with [libtorch 0.1, g++ 3], this program with [libtorch 2.11"));
  CHECK_THAT(refusal("throwing-install"), Contains("the install function threw"));
  CHECK_THAT(refusal("unresolved-symbol"), Contains("undefined symbol") && Contains("defined_nowhere"));
}

TEST_CASE("a file that is no library is refused", "[plugin]") {
  const auto folder = std::filesystem::temp_directory_path() / "reno-test-plugins";
  std::filesystem::create_directories(folder);
  const auto file = folder / "libtext.so";
  std::ofstream(file) << std::string(1000, 'x');
  Registry registry;
  CHECK_THAT(load_plugin(file, registry).refusal, Contains(file.string()) && Contains("invalid ELF header"));
  std::ofstream(file, std::ios::trunc) << "";
  CHECK_THAT(load_plugin(file, registry).refusal, Contains("file too short"));
  std::filesystem::remove_all(folder);
}

TEST_CASE("a duplicate name is refused whole, and the first stays", "[plugin]") {
  Registry registry;
  load_plugin(fixture("good"), registry);
  const auto status = load_plugin(fixture("duplicate"), registry);
  CHECK_THAT(status.refusal, Contains("reward 'good' from " + fixture("duplicate").string() +
                                      " is already registered by " + fixture("good").string()));
  CHECK(registry.rewards.names() == std::vector<std::string>{"good"});
}

TEST_CASE("an exception from a plugin's constructor keeps its type and names the component", "[plugin]") {
  Registry registry;
  load_plugin(fixture("throwing-constructor"), registry);
  const auto options = registry.rewards.at("throwing-constructor").options();
  CHECK_THROWS_MATCHES(create_component(registry.rewards, "throwing-constructor", options, Context{}),
                       LoadError, Catch::Message("reward 'throwing-constructor': weights.bin is missing"));
}

TEST_CASE("one bad plugin does not hide the others; a directory may be missing", "[plugin]") {
  Registry registry;
  const auto plugins = load_plugins(
      {fixtures / "wrong-build", fixtures / "good", "no/such/folder", fixtures / "good"}, registry);
  REQUIRE(plugins.size() == 2);
  CHECK_FALSE(plugins[0].refusal.empty());
  CHECK(plugins[1].refusal.empty());
  CHECK(registry.rewards.names() == std::vector<std::string>{"good"});
}

TEST_CASE("an unknown name lists what there is", "[plugin]") {
  Registry registry;
  load_plugin(fixture("good"), registry);
  CHECK_THROWS_MATCHES(registry.rewards.at("god"), ConfigurationError,
                       Catch::Message("unknown reward 'god', did you mean 'good'?; have: good"));
  CHECK_THROWS_MATCHES(registry.generators.at("sd"), ConfigurationError,
                       Catch::Message("unknown generator 'sd'; have: none"));
}

}  // namespace
