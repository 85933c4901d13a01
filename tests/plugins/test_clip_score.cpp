#include "../../plugins/rewards/clip_score/clip_score.hpp"
#include "plugins/clip_similarity_checks.hpp"
#include "reno/registry.hpp"

using reno::ClipScore;
using namespace reno::test;

static_assert(reno::Reward<ClipScore>);

TEST_CASE("clip-score agrees with transformers: ids, losses and gradients") {
  check_against_transformers<ClipScore>("clip");
}

TEST_CASE("clip-score reads pytorch_model.bin as well") { check_pickled_weights<ClipScore>("clip"); }

TEST_CASE("clip-score asks for what the published checkpoint has") { check_published_shapes("clip"); }

TEST_CASE("clip-score with the shapes world's weights prefers true captions") {
  if (const auto folder = shapes_weights("clip"); !folder.empty())
    check_prefers_true_captions(open_from<ClipScore>(folder, LoggedContext()));
}

TEST_CASE("clip-score registers with its published constants") {
  reno::Registry registry;
  registry.add<ClipScore>("clip-score", "");
  const auto& entry = registry.rewards.at("clip-score");
  CHECK(entry.default_weight == 0.01);
  const auto options = entry.options();
  REQUIRE(options.fields().size() == 3);
  CHECK(options.fields()[0].key == "weights");
  CHECK(std::get<std::string>(options.fields()[0].get()) == "laion/CLIP-ViT-H-14-laion2B-s32B-b79K");
  CHECK(ClipScore::ceiling == 100.0);
}

TEST_CASE("clip-score warns of a prompt that is too long and names what is missing") {
  const LoggedContext context;
  const auto reward = open_from<ClipScore>(repository_golden("clip"), context);
  std::string prompt = "cat";  // two tokens in this vocabulary
  for (int i = 1; i < 80; ++i) prompt += " cat";
  reward.encode({prompt});
  CHECK(context.logged() ==
        "warning: clip-score: the text encoder reads 75 tokens; the last 85 of this prompt are "
        "cut off: " +
            reno::shortened(prompt) + "\n");

  ClipScore::Options options;
  options.weights = repository_golden("clip");
  options.tokenizer = "/nonexistent/tokenizer";
  CHECK_THROWS_AS(ClipScore(options, context), reno::LoadError);
  options.tokenizer = repository_golden("preprocess");
  CHECK_THROWS_AS(ClipScore(options, context), reno::LoadError);
}

TEST_CASE("clip-score in lean mode scores the same") {
  LoggedContext context;
  context.memory = reno::MemoryMode::lean;
  const auto reward = open_from<ClipScore>(repository_golden("clip"), context);
  const auto other = open_from<ClipScore>(repository_golden("clip"), LoggedContext());
  const auto pixels = test_pixels(1, reward.preprocess()).to(at::kFloat);
  CHECK(at::equal(reward.score(pixels, reward.encode({"a"})), other.score(pixels, other.encode({"a"}))));
}
