#include "../../plugins/rewards/pickscore/pickscore.hpp"
#include "plugins/clip_similarity_checks.hpp"
#include "reno/registry.hpp"

using reno::PickScore;
using namespace reno::test;

static_assert(reno::Reward<PickScore>);

TEST_CASE("pickscore agrees with transformers: ids, losses and gradients") {
  check_against_transformers<PickScore>("pickscore");
}

TEST_CASE("pickscore reads pytorch_model.bin as well") { check_pickled_weights<PickScore>("pickscore"); }

TEST_CASE("pickscore asks for what the published checkpoint has") { check_published_shapes("pickscore"); }

TEST_CASE("pickscore with the shapes world's weights prefers true captions") {
  if (const auto folder = shapes_weights("pickscore"); !folder.empty())
    check_prefers_true_captions(open_from<PickScore>(folder, LoggedContext()));
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
