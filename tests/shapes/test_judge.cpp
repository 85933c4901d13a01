#include <ATen/ATen.h>

#include <catch2/catch.hpp>
#include <numeric>

#include "shapes/world_support.hpp"

using namespace reno::shapes;
using reno::test::accuracy;
using reno::test::true_renders;

namespace {

at::Tensor picture(std::vector<Object> objects) {
  for (auto& object : objects) object.rgb = palette[object.color];
  const Scene scene{std::move(objects), {}};
  return render({&scene, 1})[0];
}

Verdict verdict(const std::vector<Object>& objects, const std::string& prompt) {
  return judge(picture(objects), parse(prompt).value());
}

at::Tensor blurred(const at::Tensor& images, std::int64_t size) {
  return size == 1 ? images
                   : at::avg_pool2d(at::replication_pad2d(images, {size / 2, size / 2, size / 2, size / 2}),
                                    {size, size}, {1, 1});
}

}  // namespace

TEST_CASE("true renders are judged right") {
  const auto labelled = true_renders(300, 11);
  for (std::size_t c = 0; c < category_names.size(); ++c) {
    INFO(category_names[c]);
    CHECK(accuracy(labelled.images, labelled.descriptions, static_cast<Category>(c)) >= .99);
  }
  int strict = 0;
  for (std::size_t i = 0; i < labelled.descriptions.size(); ++i)
    strict += judge(labelled.images[static_cast<std::int64_t>(i)], labelled.descriptions[i]).strict ? 1 : 0;
  CHECK(strict >= .99 * static_cast<double>(labelled.descriptions.size()));
}

TEST_CASE("shuffled captions are right by chance only") {
  // What a blind guess achieves: how often one description is true of a scene of another of its category.
  const std::array<double, 7> chance = {1. / 4, 1. / 32, 1. / 6, 1. / 24, 1. / 24, 1. / 480, 1. / 1900};
  const auto labelled = true_renders(300, 12);
  for (std::size_t c = 0; c < category_names.size(); ++c) {
    const std::vector<Description> own(
        labelled.descriptions.begin() + 300 * static_cast<std::ptrdiff_t>(c),
        labelled.descriptions.begin() + 300 * static_cast<std::ptrdiff_t>(c + 1));
    auto shuffled = own;
    std::rotate(shuffled.begin(), shuffled.begin() + 1, shuffled.end());  // drawn independently
    const auto images =
        labelled.images.slice(0, 300 * static_cast<std::int64_t>(c), 300 * static_cast<std::int64_t>(c + 1));
    const double found = accuracy(images, shuffled);
    INFO(category_names[c] << ": " << found << ", expected about " << chance[c]);
    CHECK(found <= chance[c] + 4 * std::sqrt(chance[c] * (1 - chance[c]) / 300) + .005);
    CHECK(found >= chance[c] - 4 * std::sqrt(chance[c] * (1 - chance[c]) / 300));
  }
}

TEST_CASE("verdicts degrade with blur and with noise, never improve by much") {
  const auto labelled = true_renders(40, 13);
  std::vector<double> by_blur, by_noise;
  for (const int size : {1, 3, 7, 13, 21})
    by_blur.push_back(accuracy(blurred(labelled.images, size), labelled.descriptions));
  at::manual_seed(1);
  const auto noise = at::randn(labelled.images.sizes());
  for (const double deviation : {0., .02, .08, .2, .5})
    by_noise.push_back(accuracy(labelled.images + deviation * noise, labelled.descriptions));
  for (const auto& series : {by_blur, by_noise}) {
    INFO(series[0] << " " << series[1] << " " << series[2] << " " << series[3] << " " << series[4]);
    for (std::size_t i = 1; i < series.size(); ++i) CHECK(series[i] <= series[i - 1] + .02);
    CHECK(series[1] > .9);
    CHECK(series.back() < .1);
  }
}

TEST_CASE("objects are described as they are") {
  const auto found = detect(picture({{2, 3, {}, 20, 24, 12}, {3, 7, {}, 45, 44, 10}}));
  REQUIRE(found.size() == 2);
  CHECK(found[0].shape == 2);
  CHECK(found[0].color == 3);
  CHECK(found[0].x == Approx(20).margin(.6));
  CHECK(found[0].fit > .9);
  CHECK(found[1].shape == 3);
  CHECK(found[1].color == 7);
  CHECK(found[1].y == Approx(44).margin(.6));
  CHECK(detect(at::full({3, 64, 64}, .5)).empty());
  CHECK(detect(picture({{0, 0, {}, 32, 32, 12}}).to(at::kHalf)).size() == 1);
}

TEST_CASE("verdicts follow GenEval's rules") {
  const Object red_circle{0, 0, {}, 16, 32, 9}, blue_square{1, 5, {}, 46, 34, 9};
  const std::vector<Object> both{red_circle, blue_square};
  const auto correct = [](const Verdict& verdict) { return verdict.correct && !verdict.strict; };

  CHECK(verdict(both, "a red circle left of a blue square").strict);
  CHECK(verdict(both, "a blue square right of a red circle").strict);
  CHECK_FALSE(verdict(both, "a red circle right of a blue square").correct);
  CHECK_FALSE(verdict(both, "a red circle above a blue square").correct);
  CHECK(verdict(both, "a circle and a square").strict);
  CHECK_FALSE(verdict(both, "a blue circle and a red square").correct);
  CHECK(correct(verdict(both, "a red circle")));  // another object does not matter …
  CHECK(verdict({red_circle}, "a red circle").strict);
  CHECK_FALSE(verdict({red_circle}, "a red circle and a red cross").correct);
  CHECK_FALSE(verdict(both, "two circles").correct);  // … but a number is exact
  const Object second_circle{0, 4, {}, 46, 34, 9}, third_circle{0, 4, {}, 46, 54, 8};
  CHECK(verdict({red_circle, second_circle}, "two circles").strict);
  CHECK_FALSE(verdict({red_circle, second_circle, third_circle}, "two circles").correct);
  CHECK(verdict({red_circle, second_circle, third_circle}, "three circles").strict);
  CHECK(correct(verdict({red_circle, second_circle, third_circle}, "two cyan circles")));
}

TEST_CASE("partial verdicts count what is right") {
  const Object red_circle{0, 0, {}, 16, 32, 9}, blue_square{1, 5, {}, 46, 34, 9};
  CHECK(verdict({}, "a red circle").partial == 0);
  CHECK(verdict({red_circle}, "a blue circle").partial == .5);
  CHECK(verdict({red_circle}, "a red circle and a blue square").partial == .5);
  CHECK(verdict({red_circle, blue_square}, "a red circle right of a blue square").partial == Approx(2. / 3));
  CHECK(verdict({red_circle}, "two circles").partial == .5);
  CHECK(verdict({red_circle}, "a red circle").partial == 1);
}
