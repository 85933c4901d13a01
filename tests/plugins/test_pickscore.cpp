#include "../../plugins/rewards/pickscore/pickscore.hpp"
#include "plugins/clip_similarity_checks.hpp"
#include "reno/registry.hpp"

using reno::PickScore;
using namespace reno::test;

static_assert(reno::Reward<PickScore>);

namespace {
PickScore tiny(const reno::Context& context) {
  return open_from<PickScore>(repository_golden("pickscore"), context);
}
}  // namespace

TEST_CASE("pickscore agrees with transformers: ids, losses and gradients") {
  check_against_transformers<PickScore>("pickscore");
}

TEST_CASE("pickscore: images of a batch are independent") { check_batch(tiny); }

TEST_CASE("pickscore: the gradient agrees with finite differences") { check_gradient(tiny); }

TEST_CASE("pickscore keeps dtypes and devices") { check_dtypes_and_devices(tiny, 2.0); }

TEST_CASE("pickscore asks for what the published checkpoint has") { check_published_shapes("pickscore"); }

TEST_CASE("pickscore scores with the shapes world's weights") {
  const LoggedContext context;
  const auto reward = open_from<PickScore>(RENO_SOURCE_DIR "/examples/shapes/rewards/pickscore", context);
  const auto features = reward.encode({"a photo of a red circle", "a photo of a blue square"});
  const auto scores = reward.score(test_pixels(2, reward.preprocess()).to(at::kFloat), features);
  CHECK(scores.isfinite().all().item<bool>());
  CHECK(scores.abs().max().item<float>() <= 35);  // |cosine| <= 1, times the model's factor
}

TEST_CASE("pickscore registers with its published constants") {
  reno::Registry registry;
  registry.add<PickScore>("pickscore", "");
  const auto& entry = registry.rewards.at("pickscore");
  CHECK(entry.default_weight == 0.05);
  const auto options = entry.options();
  REQUIRE(options.fields().size() == 3);
  CHECK(options.fields()[0].key == "weights");
  CHECK(std::get<std::string>(options.fields()[0].get()) == "yuvalkirstain/PickScore_v1");
  CHECK(PickScore::ceiling == 30.0);
}
