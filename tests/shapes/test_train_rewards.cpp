// The rewards' side of shapes-train: labels, files, and that it learns.
#include <ATen/ATen.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <fstream>
#include <regex>

#include "reno/io/tensor_file.hpp"
#include "reno/nn/open_clip.hpp"
#include "reno/nn/reward_head.hpp"
#include "shapes/train/reward_files.hpp"
#include "shapes/train/reward_lessons.hpp"
#include "shapes/world_support.hpp"
#include "support/program.hpp"

using namespace reno::shapes;
using reno::test::Program;
using reno::test::TemporaryFolder;

namespace {

reno::test::Outcome run_program(const std::string& name, const std::vector<std::string>& arguments) {
  return Program(arguments, RENO_SOURCE_DIR, name).wait();
}

Description said(const std::string& prompt) { return parse(prompt).value(); }

Sight sight(int shape, int color, float x, float y) {
  Sight sight{{}, {}, 1, x, y, 9};
  sight.shape[shape] = sight.color[color] = 1;
  return sight;
}

/// Every "name number" in the output.
std::vector<double> numbers(const std::string& output, const std::string& name) {
  std::vector<double> values;
  const std::regex pattern(name + " (-?[0-9.]+)");
  for (auto match = std::sregex_iterator(output.begin(), output.end(), pattern);
       match != std::sregex_iterator(); ++match)
    values.push_back(std::stod((*match)[1]));
  return values;
}

}  // namespace

TEST_CASE("truth is 1 for what is there and nothing else") {
  const Sights both{sight(0, 0, 16, 32), sight(1, 5, 46, 34)};
  CHECK(truth(both, said("a red circle left of a blue square")) == Approx(1));
  CHECK(truth(both, said("a circle and a square")) == Approx(1));
  CHECK(truth(both, said("a red circle right of a blue square")) < .4);
  CHECK(truth(both, said("a blue circle and a red square")) < .3);
  CHECK(truth({both[0]}, said("a red circle and a blue square")) < .3);
  CHECK(truth({}, said("a red circle")) == 0);
  // A surplus object costs half.
  CHECK(truth(both, said("a red circle")) == Approx(.5));
  auto faint = both;
  faint[1].presence = .5F;
  CHECK(truth(faint, said("a red circle")) == Approx(.75));
  const Sights three{both[0], both[1], sight(1, 5, 46, 12)};
  CHECK(truth(three, said("a red circle left of a blue square")) == Approx(.5));
  CHECK(truth(three, said("two blue squares")) == Approx(.5));
  CHECK(truth({three[1], three[2]}, said("two blue squares")) == Approx(1));
  CHECK(truth({three[1], three[2]}, said("three blue squares")) < .5);
}

TEST_CASE("captions of true renders are true, altered ones are not, and the judge agrees") {
  Random random(3);
  int judged_right = 0, judged_wrong = 0;
  constexpr int count = 300;
  for (int i = 0; i < count; ++i) {
    const auto scene = training_scene(random);
    CHECK_FALSE(held_out(scene));
    const auto picture = picture_of(scene, false, random);
    const auto caption = describe(scene, random);
    INFO(text(caption));
    CHECK(truth(picture.sights, caption) > .99F);
    judged_right += judge(picture.image, caption).correct ? 1 : 0;
    const auto lie = altered(caption, random);
    CHECK_FALSE(lie == caption);
    judged_wrong += truth(picture.sights, lie) > .9F || !judge(picture.image, lie).strict ? 1 : 0;
  }
  CHECK(judged_right >= .99 * count);
  CHECK(judged_wrong >= .99 * count);
}

TEST_CASE("truths of doubtful pictures go with the judge's strict verdicts") {
  Random random(4);
  int plainly_true = 0, judged_true = 0, plainly_false = 0, judged_false = 0;
  for (int i = 0; i < 600; ++i) {
    const auto scene = training_scene(random);
    const auto caption = describe(scene, random);
    const auto picture =
        random.chance(.5) ? picture_of(scene, true, random) : taught_picture(caption, random);
    const float degree = truth(picture.sights, caption);
    const bool strict = judge(picture.image, caption).strict;
    plainly_true += degree > .97F ? 1 : 0;
    judged_true += degree > .97F && strict ? 1 : 0;
    plainly_false += degree < .5F ? 1 : 0;
    judged_false += degree < .5F && !strict ? 1 : 0;
  }
  CAPTURE(plainly_true, judged_true, plainly_false, judged_false);
  REQUIRE(plainly_true > 60);
  REQUIRE(plainly_false > 60);
  CHECK(judged_true > .85 * plainly_true);
  CHECK(judged_false > .9 * plainly_false);  // soft objects are less true, but good enough for the judge
}

TEST_CASE("every caption of a lesson is true of its own or differs from one that is in one thing") {
  Random random(9);
  const auto lesson = reward_lesson(5, 2, random);
  REQUIRE(lesson.captions.size() == 5 * 8 + 2 * 3);
  REQUIRE(lesson.originals.size() == lesson.captions.size());
  for (std::size_t c = 0; c < lesson.captions.size(); ++c) {
    const auto original = lesson.originals[c];
    CHECK(lesson.originals[original] == original);
    CHECK(lesson.caption_groups[original] == lesson.caption_groups[c]);
    CHECK((lesson.captions[original] == lesson.captions[c]) == (original == c));
  }
}

TEST_CASE("prompts are understood when every question is answered") {
  const std::vector<Description> descriptions = {said("a red circle left of a blue square"),
                                                 said("two squares"), said("a green cross")};
  const auto labels = PromptClasses(descriptions).labels;
  CHECK_FALSE(labels[0].equal(PromptClasses({said("a red circle right of a blue square")}).labels[0]));
  CHECK_FALSE(labels[0].equal(PromptClasses({said("a blue square left of a red circle")}).labels[0]));
  const auto unsure = at::zeros({3, PromptClasses::count()});
  double chance = 0;
  for (const auto size : PromptClasses::sizes) chance += std::log(static_cast<double>(size));
  CHECK(prompt_cross_entropy(unsure, labels).item<double>() == Approx(chance));
  auto sure = unsure.clone();
  std::int64_t from = 0, question = 0;
  for (const auto size : PromptClasses::sizes) {
    sure.narrow(1, from, size).scatter_(1, labels.select(1, question++).unsqueeze(1), 30.);
    from += size;
  }
  CHECK(prompt_cross_entropy(sure, labels).item<double>() < 1e-5);
}

TEST_CASE("large patches compute on enlarged pictures what small ones compute") {
  at::manual_seed(5);
  const auto kernel = at::randn({6, 3, small_patch, small_patch});
  Random random(5);
  const auto images = reward_lesson(4, 2, random).images;
  const reno::Preprocess enlarge{.size = large_image, .mean = {0, 0, 0}, .std = {1, 1, 1}};
  const auto expected = at::conv2d(images, kernel, {}, small_patch);
  const auto actual = at::conv2d(preprocess(images, enlarge), lifted(kernel), {}, large_patch);
  const double error = ((actual - expected).norm() / expected.norm()).item<double>();
  CAPTURE(error);
  CHECK(error < 1e-3);
}

TEST_CASE("state dicts are written as PyTorch's and read back") {
  const TemporaryFolder folder;
  at::manual_seed(6);
  const TensorMap tensors = {
      {"a.weight", at::randn({3, 5})}, {"b", at::randn({7}).to(at::kHalf)}, {"c", at::randn({})}};
  for (const std::string outer : {"", "state_dict"}) {
    const auto file = folder / ("weights" + outer + ".pt");
    write_pytorch(file, tensors, outer);
    const auto source = reno::open_tensor_file(file);
    CHECK(source->names().size() == tensors.size());
    for (const auto& [name, tensor] : tensors) CHECK(source->read(name).equal(tensor));
  }
  CHECK_THROWS_WITH(write_pytorch(folder / "x.pt", {{"d", at::zeros({2}, at::kDouble)}}),
                    Catch::EndsWith("tensor \"d\" is neither float32 nor float16"));
}

TEST_CASE("HPSv2's file leads back to the weights it was made of") {
  const TemporaryFolder folder;
  const Parameters parameters(8);
  const ClipNetwork network(parameters, clip_config_json(image_size, small_patch, 20, 18, 19));
  TensorMap weights;
  for (const auto& [name, tensor] : below(parameters.tensors(), "clip."))
    weights.emplace(name, tensor.detach());
  write_hpsv2(folder.path(), weights, 20);
  const reno::nn::OpenClipSource source(reno::open_tensor_file(folder / "HPS_v2.1_compressed.pt"));
  CHECK(source.names().size() == weights.size());
  for (const auto& [name, tensor] : weights) {
    INFO(name);
    REQUIRE(source.find(name) != nullptr);
    auto stored = source.read(name);
    for (std::int64_t d = 0; d < tensor.dim(); ++d) {  // text perceptrons are widened by zeros
      CHECK(stored.narrow(d, tensor.size(d), stored.size(d) - tensor.size(d)).count_nonzero().item<int>() ==
            0);
      stored = stored.narrow(d, 0, tensor.size(d));
    }
    CHECK(stored.equal(tensor));
  }
}

TEST_CASE("a linear score survives the five layers of the published heads") {
  const TemporaryFolder folder;
  at::manual_seed(7);
  const auto weight = at::randn({1, 64});
  write_pytorch(folder / "head.pth", head_weights(weight, .5));
  const reno::nn::RewardHead head(
      reno::Weights(reno::open_tensor_file(folder / "head.pth"), at::kCPU, at::kFloat), 64);
  const auto x = at::randn({5, 64});
  CHECK(at::allclose(head(x), x.mv(weight[0]) + .5, 1e-5, 1e-6));
}

TEST_CASE("the reward clip learns what it is not shown") {
  const TemporaryFolder folder;
  const auto trained = run_program("shapes-train", {"clip", "--tiny", "--output", folder.path().string()});
  INFO(trained.output << trained.errors);
  REQUIRE(trained.status == 0);
  const auto losses = numbers(trained.output, "held out: loss");
  REQUIRE(losses.size() == 2);  // untrained, trained
  CHECK(losses.back() < .75 * losses.front());
}
