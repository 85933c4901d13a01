#include <ATen/ATen.h>

#include <catch2/catch.hpp>
#include <regex>

#include "reno/run/image_texts.hpp"

namespace {

using namespace reno;

Experiment make_experiment() {
  Experiment experiment;
  experiment.generator.plugin = "my,model";
  RewardTerm term;
  term.plugin = term.name = "clip-score";
  experiment.rewards.push_back(term);
  return experiment;
}

ImageMetrics make_metrics() {
  ImageMetrics metrics;
  metrics.scores = {31.5};
  metrics.losses = {68.5};
  metrics.total = 0.685;
  return metrics;
}

Sample sample(std::int64_t prompt, const std::string& text) {
  Sample made;
  made.prompt.index = prompt;
  made.prompt.text = text;
  made.seed = 7;
  return made;
}

TEST_CASE("parameters can be read by the rules of stable-diffusion webui", "[png]") {
  const ImageTexts texts(make_experiment());
  const auto chunks =
      texts(sample(12, "a cat, (blue:1.2)\nand \"dogs\""), 4, make_metrics(), at::zeros({3, 16, 24}));
  REQUIRE(chunks.size() == 2);
  CHECK(chunks[0].keyword == "parameters");
  const std::string& text = chunks[0].text;
  const auto last_line = text.rfind('\n');
  CHECK(text.substr(0, last_line) == "a cat, (blue:1.2)\nand \"dogs\"");
  // The expression with which webui splits the last line (modules/infotext_utils.py).
  const std::regex parameter(R"(\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$))");
  std::map<std::string, std::string> values;
  const std::string line = text.substr(last_line + 1);
  for (std::sregex_iterator match(line.begin(), line.end(), parameter), end; match != end; ++match)
    values[(*match)[1]] = (*match)[2];
  CHECK(values == std::map<std::string, std::string>{{"Steps", "1"},
                                                     {"Sampler", "ReNO sgd"},
                                                     {"Seed", "7"},
                                                     {"Size", "24x16"},
                                                     {"Model", "\"my,model\""},
                                                     {"ReNO iteration", "4"},
                                                     {"Prompt index", "12"},
                                                     {"Version", std::string("reno ") + version}});
}

TEST_CASE("the reno chunk has numbers and the whole experiment", "[png]") {
  const Experiment experiment = make_experiment();
  const auto chunks =
      ImageTexts(experiment)(sample(12, "caf\u00e9"), 4, make_metrics(), at::zeros({3, 16, 24}));
  CHECK(chunks[1].keyword == "reno");
  const auto object = nlohmann::json::parse(chunks[1].text);
  CHECK(object["text"] == "caf\u00e9");
  CHECK(object["prompt"] == 12);
  CHECK(object["seed"] == 7);
  CHECK(object["iteration"] == 4);
  CHECK(object["scores"]["clip-score"] == 31.5);
  CHECK(object["total"] == 0.685);
  CHECK(object["experiment"] == write_toml(experiment));
}

TEST_CASE("an empty prompt, and one that is not UTF-8", "[png]") {
  const ImageTexts texts(make_experiment());
  CHECK_THAT(texts(sample(0, ""), 0, make_metrics(), at::zeros({3, 2, 2}))[0].text,
             Catch::StartsWith("Steps: 1, "));
  CHECK_NOTHROW(
      nlohmann::json::parse(texts(sample(0, "\xFF\xC3"), 0, make_metrics(), at::zeros({3, 2, 2}))[1].text));
}

}  // namespace
