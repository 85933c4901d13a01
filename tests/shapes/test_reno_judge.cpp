// The program reno-judge and the plugin shapes-judge.
#include <ATen/ATen.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <nlohmann/json.hpp>

#include "reno/image/png.hpp"
#include "reno/registry.hpp"
#include "shapes/judge/find_images.hpp"
#include "shapes/judge/read_png.hpp"
#include "shapes/judge/shapes_judge.hpp"
#include "shapes/judge/tally.hpp"
#include "shapes/world_support.hpp"
#include "support/program.hpp"

using namespace reno::shapes;
using reno::test::Outcome;
using reno::test::TemporaryFolder;
using reno::test::true_renders;
namespace fs = std::filesystem;

static_assert(reno::Reward<ShapesJudge>);
static_assert(!reno::is_differentiable<ShapesJudge>);

namespace {

Outcome reno_judge(const std::vector<std::string>& arguments) {
  return reno::test::Program(arguments, RENO_SOURCE_DIR, "reno-judge").wait();
}

void write(const fs::path& file, const std::string& text) {
  fs::create_directories(file.parent_path());
  std::ofstream(file) << text;
}

/// True renders in GenEval's layout, two samples per prompt: the first is right, the second is empty.
std::vector<Description> write_geneval(const fs::path& root) {
  const auto labelled = true_renders(2, 5);
  for (std::size_t i = 0; i < labelled.descriptions.size(); ++i) {
    const auto folder = root / fmt::format("{:05}", i);
    write(folder / "metadata.jsonl", to_metadata(labelled.descriptions[i]).dump() + "\n");
    fs::create_directories(folder / "samples");
    reno::write_png(folder / "samples" / "00000.png", labelled.images[static_cast<std::int64_t>(i)]);
    reno::write_png(folder / "samples" / "00001.png", at::full({3, 64, 64}, .5));
  }
  return labelled.descriptions;
}

/// A run over true_renders(1, 6): its best images are the renders, or blank.
void write_run(const fs::path& root, bool right, double initial_loss, double best_loss) {
  const auto labelled = true_renders(1, 6);
  const auto blank = at::full({3, 64, 64}, .5);
  std::string results;
  for (std::size_t i = 0; i < labelled.descriptions.size(); ++i) {
    const auto prompt = root / fmt::format("{:05}", i);
    fs::create_directories(prompt);
    reno::write_png(prompt / "init_image.png", blank);
    reno::write_png(prompt / "best_image.png", right ? labelled.images[static_cast<std::int64_t>(i)] : blank);
    results += nlohmann::json{{"prompt", i},
                              {"seed", 0},
                              {"text", text(labelled.descriptions[i])},
                              {"initial", {{"total", initial_loss}}},
                              {"best", {{"total", best_loss + .5 * static_cast<double>(i % 2)}}}}
                   .dump() +
               "\n";
  }
  write(root / "results.jsonl", results);
}

}  // namespace

TEST_CASE("GenEval's metadata and descriptions are the same thing") {
  for (const auto& description : held_out_descriptions(30, 4)) {
    const auto json = nlohmann::json::parse(to_metadata(description).dump());
    INFO(json.dump());
    CHECK((from_metadata(json, "") == description));
    CHECK((parse(json["prompt"].get<std::string>()) == description));
    CHECK(json["tag"] == name(category(description)));
  }
  const auto position = to_metadata(parse("a red circle left of a blue square").value());
  CHECK(position.dump() == R"({"tag":"position_attr","include":[{"class":"square","count":1,"color":"blue"},)"
                           R"({"class":"circle","count":1,"color":"red","position":["left of",0]}],)"
                           R"("prompt":"a photo of a red circle left of a blue square"})");
}

TEST_CASE("metadata of other worlds is refused with a sentence") {
  const auto refuse = [](const char* json, const std::string& why) {
    CHECK_THROWS_WITH(from_metadata(nlohmann::json::parse(json), "x:1"), "x:1: " + why);
  };
  refuse(R"({"include": [{"class": "dog", "count": 1}]})", "class \"dog\" is not of the shapes world");
  refuse(R"({"include": [{"class": "circle", "color": "black"}]})",
         "color \"black\" is not of the shapes world");
  refuse(R"({"include": [{"class": "circle", "count": 9}]})", "count 9 is not one of the shapes world's");
  refuse(R"({"include": []})", "include has to list one object or two");
  refuse(R"({"include": [{"class": "circle", "position": ["left of", 0]}]})",
         "position [\"left of\",0] does not relate two objects");
  CHECK_THROWS_WITH(from_metadata(nlohmann::json::parse(R"({"tag": 1})"), "x:1"),
                    Catch::StartsWith("x:1: is not GenEval's metadata ("));
}

TEST_CASE("reno-judge reads GenEval's layout") {
  const TemporaryFolder folder;
  const auto descriptions = write_geneval(folder.path());
  const auto outcome = reno_judge({folder.path(), "--json"});
  REQUIRE(outcome.status == 0);
  const auto json = nlohmann::json::parse(outcome.output);
  CHECK(json["samples"]["mean"]["count"] == 28);
  for (const auto* rule : {"correct", "strict", "partial"})
    CHECK(json["samples"]["mean"][rule].get<double>() == Approx(.5));
  for (const auto& tag : category_names) CHECK(json["samples"][std::string(tag)]["count"] == 4);

  const auto table = reno_judge({folder.path()});
  CHECK(table.output.find("position_attr        4   0.500 (0.15-0.85)     0.500 (0.15-0.85)     0.500") !=
        std::string::npos);
  const auto each = reno_judge({folder.path(), "--each"});
  CHECK(each.output.find("00000/samples/00000.png  strict   " + text(descriptions[0]) + ": ") == 0);
  CHECK(each.output.find("00000/samples/00001.png  wrong    " + text(descriptions[0]) + ": nothing") !=
        std::string::npos);
}

TEST_CASE("reno-judge reads a run's directory") {
  const TemporaryFolder folder;
  write_run(folder.path(), true, 3, 1);
  const auto json = nlohmann::json::parse(reno_judge({folder.path(), "--json"}).output);
  CHECK(json["before"]["mean"]["correct"] == 0.);
  CHECK(json["after"]["mean"]["strict"] == Approx(1));
}

TEST_CASE("reno-judge compares two runs picture by picture") {
  const TemporaryFolder folder;
  const auto right = folder.path() / "right", wrong = folder.path() / "wrong",
             other = folder.path() / "other";
  write_run(right, true, 3, 1);
  write_run(wrong, false, 3, 2.25);
  write_run(other, true, 4, 1);

  const auto better = reno_judge({right, "--beside", wrong});
  INFO(better.output << better.errors);
  REQUIRE(better.status == 0);
  CHECK_THAT(better.output, Catch::Contains("\nsingle_object        1   +1.000"));
  CHECK_THAT(better.output, Catch::Contains("\nall                  7   +1.000 (+1.000 to +1.000)"));
  CHECK_THAT(better.output, Catch::Contains("total loss: -1.250 (-1.250 to -1.250)"));
  CHECK_THAT(reno_judge({wrong, "--beside", right}).output,
             Catch::Contains("\nall                  7   -1.000"));
  // Where the first noise has another loss, the objectives are not the same.
  const auto equal = reno_judge({right, "--beside", other}).output;
  CHECK_THAT(equal, Catch::Contains("\nall                  7   +0.000") && !Catch::Contains("total loss"));

  const auto nothing = reno_judge({right, "--beside", folder.path()});
  CHECK(nothing.status == 3);
  write_geneval(folder.path() / "samples");
  const auto unpaired = reno_judge({right, "--beside", folder.path() / "samples"});
  CHECK(unpaired.status == 2);
  CHECK_THAT(unpaired.errors, Catch::Contains("no picture of the same prompt and seed"));
}

TEST_CASE("pictures of a run are where its results say that they are") {
  const TemporaryFolder folder;
  const auto labelled = true_renders(1, 9);
  const auto file = folder.path() / "00000" / "samples" / "00004.png";
  fs::create_directories(file.parent_path());
  fs::create_directories(folder.path() / "00000" / "initial");
  reno::write_png(file, labelled.images[0]);
  reno::write_png(folder.path() / "00000" / "initial" / "00004.png", at::full({3, 64, 64}, .5));
  const nlohmann::json files = {{"initial_image", "00000/initial/00004.png"},
                                {"best_image", "00000/samples/00004.png"}};
  write(folder.path() / "results.jsonl",
        nlohmann::json{{"prompt", 0}, {"text", text(labelled.descriptions[0])}, {"files", files}}.dump() +
            "\n");
  const auto outcome = reno_judge({folder.path(), "--json"});
  INFO(outcome.errors);
  REQUIRE(outcome.status == 0);
  const auto json = nlohmann::json::parse(outcome.output);
  CHECK(json["before"]["mean"]["correct"] == 0.);
  CHECK(json["after"]["mean"]["strict"] == 1.);
}

TEST_CASE("reno-judge says what it cannot do") {
  const TemporaryFolder folder;
  const auto fails = [&](const std::vector<std::string>& arguments, int status, const std::string& message) {
    const auto outcome = reno_judge(arguments);
    INFO(outcome.errors);
    CHECK(outcome.status == status);
    CHECK(outcome.errors.find("reno-judge: ") == 0);
    CHECK(outcome.errors.find(message) != std::string::npos);
  };
  fails({}, 2, "no folder given");
  fails({"--jsn"}, 2, "unrecognised option '--jsn'");
  fails({folder.path() / "none"}, 3, "there is no such folder");
  fails({folder.path()}, 3, "has no pictures to judge");
  write(folder.path() / "results.jsonl", R"({"prompt": 0, "text": "a red dog"})");
  fails({folder.path()}, 2,
        "results.jsonl:1: the judge of the shapes world cannot read the prompt \"a red dog\"");
  write(folder.path() / "results.jsonl", "{\"prompt\": 0, \"text\": \"a circle\"}\n{");
  fails({folder.path()}, 3, "results.jsonl:2: is not a JSON object");
  write(folder.path() / "results.jsonl", R"({"prompt": 0, "text": "a circle"})");
  fails({folder.path()}, 3, "init_image.png");
  reno::write_png(folder.path() / "init_image.png", at::zeros({3, 32, 64}));
  fails({folder.path()}, 3, "init_image.png: is 64x32 pixels, expected a square picture");
}

TEST_CASE("pictures survive the way through a PNG, and larger ones are reduced") {
  const TemporaryFolder folder;
  const auto labelled = true_renders(3, 8);
  for (std::size_t i = 0; i < labelled.descriptions.size(); ++i) {
    const auto image = labelled.images[static_cast<std::int64_t>(i)];
    const auto file = folder.path() / "image.png";
    reno::write_png(file, image);
    CHECK(at::allclose(read_png(file), image, 0, .5 / 255 + 1e-6));
    reno::write_png(file, at::upsample_nearest2d(image.unsqueeze(0), {256, 256})[0]);
    CHECK(judge(to_world_size(read_png(file), file), labelled.descriptions[i]).strict);
  }
}

TEST_CASE("intervals are Wilson's") {
  const auto [low, high] = wilson_interval(8, 10);
  CHECK(low == Approx(.4902).margin(1e-4));
  CHECK(high == Approx(.9433).margin(1e-4));
  CHECK(wilson_interval(0, 10).first == 0);
}

TEST_CASE("shapes-judge is a reward that is watched") {
  const auto labelled = true_renders(4, 9);
  reno::Prompts prompts;
  for (const auto& description : labelled.descriptions) prompts.push_back(text(description));
  reno::Context context;
  const auto scores = [&](const std::string& verdict, const at::Tensor& images) {
    ShapesJudge reward(ShapesJudge::Options{verdict}, context);
    return reward.score(images, reward.encode(prompts));
  };
  CHECK(at::equal(scores("strict", labelled.images), at::ones({28})));
  CHECK(at::equal(scores("correct", at::zeros_like(labelled.images)), at::zeros({28})));
  const auto partial = scores("partial", labelled.images.flip(0));
  CHECK(partial.min().item<float>() >= 0);
  CHECK(partial.mean().item<float>() > .05);
  CHECK(partial.mean().item<float>() < .6);
  // A dry run has tensors without data.
  CHECK(scores("correct", at::empty({28, 3, 64, 64}, at::kMeta)).is_meta());

  ShapesJudge reward({}, context);
  CHECK_THROWS_WITH(reward.encode({"a red dog"}),
                    Catch::Contains("cannot read the prompt \"a red dog\"; it knows such as"));
  reno::Registry registry;
  registry.add<ShapesJudge>("shapes-judge", "");
  CHECK(registry.rewards.at("shapes-judge").default_weight == 0);
}
