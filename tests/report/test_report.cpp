// What the report reads from a run's directory, and the page that it writes.
#include <ATen/ATen.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <fstream>

#include "reno/image/png.hpp"
#include "reno/report/write_report.hpp"
#include "support/program.hpp"

namespace {

using namespace reno;
using namespace reno::test;
using Catch::Contains;
using nlohmann::json;
namespace fs = std::filesystem;

constexpr const char* page = R"(<html><script type="application/json" id="data"></script></html>)";

void write(const fs::path& file, const std::string& text) {
  fs::create_directories(file.parent_path());
  std::ofstream(file, std::ios::binary) << text;
}

json measured(double a, double b) {
  return {
      {"scores", {{"a", a}, {"b", b}}}, {"losses", {{"a", -a}, {"b", -b}}}, {"total", -a - b}, {"norm", 1.0}};
}

/// A run of two rewards, a and b, that is written by hand.
struct MadeUpRun {
  TemporaryFolder folder;
  std::string results;
  std::string metrics;

  MadeUpRun() {
    write(file("experiment.toml"),
          "[run]\ntask = \"example-prompts\"\nprompt = \"unused\"\n[[reward]]\nname = \"a\"\nweight = 2.0\n"
          "[[reward]]\nname = \"b\"\nweight = 0.0\n");
  }

  fs::path file(const std::string& name) const { return folder.path() / "run" / name; }

  void result(int prompt, const json& initial, const json& best, const json& more = json::object()) {
    json line = {{"prompt", prompt},   {"seed", 0},    {"text", "prompt " + std::to_string(prompt)},
                 {"initial", initial}, {"best", best}, {"best_iteration", 1}};
    line.update(more);
    results += line.dump() + "\n";
  }

  void evaluation(int prompt, int iteration, double a, double b, json grad_norm = 3.0) {
    json line = measured(a, b);
    line.update({{"prompt", prompt},
                 {"seed", 0},
                 {"iteration", iteration},
                 {"grad_norm", grad_norm},
                 {"seconds", 0.5}});
    metrics += line.dump() + "\n";
  }

  report::RunRecord read(const report::Limits& limits = {}) const {
    write(file("results.jsonl"), results);
    write(file("metrics.jsonl"), metrics);
    return report::read_run(folder.path() / "run", limits);
  }

  json data(const report::Limits& limits = {}) const {
    read(limits);
    report::write_report(folder.path() / "run", file("report.html"), page, limits);
    const std::string html = read_file(file("report.html"));
    const std::string start = R"(<html><script type="application/json" id="data">)";
    const std::string end = "</script></html>";
    REQUIRE_THAT(html, Catch::StartsWith(start) && Catch::EndsWith(end));
    const std::string text = html.substr(start.size(), html.size() - start.size() - end.size());
    CHECK_THAT(text, !Contains("<"));  // nothing in it can end the element
    return json::parse(text);
  }
};

std::vector<float> unpack(const std::string& base64) {
  std::string bytes;
  unsigned buffer = 0;
  int bits = 0;
  const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (const char c : base64) {
    if (c == '=') break;
    buffer = buffer << 6 | static_cast<unsigned>(digits.find(c));
    if ((bits += 6) >= 8) bytes.push_back(static_cast<char>(buffer >> (bits -= 8)));
  }
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

TEST_CASE("means, intervals and shares over images", "[report]") {
  report::Change change;
  std::vector<double> differences;
  for (int i = 0; i < 12; ++i) {
    const double before = i * 0.5;
    const double after = before + (i % 4) - 1.0;
    change.add(before, after, /*higher_is_better=*/i != 3);
    differences.push_back(after - before);
    CHECK(change.interval().has_value() == (i >= 9));
  }
  const at::Tensor all = at::tensor(differences, at::kDouble);
  CHECK(change.count == 12);
  CHECK(change.initial == Approx(2.75));
  CHECK(change.best == Approx(3.25));
  CHECK(change.change == Approx(all.mean().item<double>()));
  CHECK(*change.interval() == Approx(1.96 * all.std().item<double>() / std::sqrt(12.0)));
  CHECK(change.improved == 5);  // 2, 3, 6, 7, 10, 11 rise; lower is better for the fourth
}

TEST_CASE("a run is read: sums over all images, each image, the mean curves", "[report]") {
  MadeUpRun run;
  run.result(0, measured(1, 2), measured(3, 1), {{"labels", {{"category", "x"}}}});
  run.result(1, measured(2, 2), measured(2, 2), {{"labels", {{"category", "y"}}}});
  run.result(2, measured(0, 0), measured(4, 4), {{"labels", {{"category", "x"}}}});
  for (int prompt = 0; prompt < 3; ++prompt) {
    run.evaluation(prompt, 0, prompt, 10);
    run.evaluation(prompt, 1, prompt + 4, 10);
    run.evaluation(prompt, 1, prompt + 4, 10);  // measured again after a stop
    run.evaluation(prompt, 2, prompt + 1, 10, nullptr);
  }
  const auto record = run.read();
  CHECK(record.rewards == std::vector<std::string>{"a", "b"});
  CHECK(record.count == 3);
  REQUIRE(record.all.values.size() == 3);
  CHECK(record.all.values[0].change == Approx(2.0));
  CHECK(record.all.values[0].improved == 2);
  CHECK(record.all.values[1].improved == 1);
  CHECK(record.all.values[2].improved == 2);  // the total loss: lower is better
  CHECK(record.by_label.at("category").at("x").values[0].count == 2);
  REQUIRE(record.images.size() == 3);
  CHECK(record.images[2].text == "prompt 2");
  CHECK(record.images[2].best == std::vector<double>{4, 4, -8});
  CHECK(record.images[1].iterations == 3);

  CHECK(record.mean_count == std::vector<std::int64_t>{3, 3, 3});
  CHECK(record.mean_curve[1][0] == Approx(5.0));
  CHECK(record.mean_curve[2][0] == Approx(2.0));
  CHECK(record.mean_best[2][0] == Approx(5.0));
  CHECK(record.mean_best[2][2] == Approx(-15.0));
}

TEST_CASE("the page's data", "[report]") {
  MadeUpRun run;
  run.result(3, measured(1.23456789, 2), measured(3, 1), {{"text", "</script><b> \u03b1"}});
  run.evaluation(3, 0, 1.5, 2);
  run.evaluation(3, 1, 0.1, 0.25, nullptr);
  write(run.file("results.json"), R"({"complete": true, "seconds": {"load": 1}})");
  const json data = run.data();
  CHECK(data["kind"] == "run");
  CHECK(data["name"] == "run");
  CHECK(data["version"] == version);
  CHECK(data["values"] ==
        json::parse(R"([{"name":"a","weight":2.0,"higher":true},{"name":"b","weight":0.0,"higher":true},
                                          {"name":"total loss","higher":false}])"));
  CHECK(data["results"]["seconds"]["load"] == 1);
  CHECK(data["settings"]["run"]["task"] == "example-prompts");
  CHECK_THAT(data["experiment"].get<std::string>(), Contains("weight = 2.0"));
  REQUIRE(data["images"].size() == 1);
  const auto& image = data["images"][0];
  CHECK(image["text"] == "</script><b> \u03b1");
  CHECK(image["initial"][0] == 1.234568);
  CHECK(image["before"].is_null());
  const auto curve = unpack(image["curve"]);
  REQUIRE(curve.size() == 2 * data["columns"].get<std::size_t>());
  CHECK(curve[0] == 1.5F);
  CHECK(curve[4] == 3.0F);
  CHECK(curve[6] == 0.1F);
  CHECK(std::isnan(curve[10]));
  CHECK(curve[11] == 0.5F);
}

TEST_CASE("pictures are carried up to a size, then linked", "[report]") {
  MadeUpRun run;
  std::string bytes;
  for (int prompt = 0; prompt < 3; ++prompt) {
    bytes = encode_png(at::rand({3, 20, 30}));
    const std::string folder = "a b#%/" + std::to_string(prompt);
    write(run.file(folder + "/init.png"), bytes);
    write(run.file(folder + "/best \u03b1.png"), bytes);
    run.result(
        prompt, measured(1, 2), measured(3, 1),
        {{"files", {{"initial_image", folder + "/init.png"}, {"best_image", folder + "/best \u03b1.png"}}}});
  }
  report::Limits limits;
  limits.picture_bytes = 2 * bytes.size() + 100;  // room for one pair
  const json data = run.data(limits);
  const auto& first = data["images"][0]["before"];
  CHECK(first["width"] == 30);
  CHECK(first["height"] == 20);
  CHECK(first["src"] ==
        "data:image/png;base64," + report::encode_base64(read_file(run.file("a b#%/0/init.png"))));
  CHECK(data["images"][1]["before"]["src"] == "a%20b%23%25/1/init.png");
  CHECK(data["images"][2]["after"]["src"] == "a%20b%23%25/2/best%20%CE%B1.png");
  CHECK(data["carried"] == 1);
  CHECK(data["linked"] == 2);

  report::write_report(run.folder.path() / "run", run.folder.path() / "elsewhere.html", page, limits);
  CHECK_THAT(read_file(run.folder.path() / "elsewhere.html"), Contains("\"run/a%20b%23%25/1/init.png\""));
}

TEST_CASE("only PNGs inside of the run are shown", "[report]") {
  MadeUpRun run;
  write(run.folder.path() / "secret.png", encode_png(at::rand({3, 4, 4})));
  write(run.file("text.png"), "this is no picture, but a long enough text");
  for (const char* name : {"../secret.png", "x/../../secret.png", "text.png", "none.png", "", "."}) {
    INFO(name);
    run.results.clear();
    run.result(0, measured(1, 2), measured(3, 1),
               {{"files", {{"initial_image", name}, {"best_image", name}}}});
    const json data = run.data();
    CHECK(data["images"][0]["before"].is_null());
    CHECK(data["images"][0]["after"].is_null());
  }
  run.results.clear();
  run.result(
      0, measured(1, 2), measured(3, 1),
      {{"files", {{"initial_image", (run.folder.path() / "secret.png").string()}, {"best_image", "x"}}}});
  CHECK(run.data()["images"][0]["before"].is_null());
}

TEST_CASE("an image for each iteration is found", "[report]") {
  MadeUpRun run;
  run.result(7, measured(1, 2), measured(3, 1));
  for (int iteration = 0; iteration < 3; ++iteration) run.evaluation(7, iteration, 1, 1);
  CHECK_FALSE(run.data()["images"][0].contains("frames"));
  write(run.file("00007/images/00002.png"), encode_png(at::rand({3, 4, 4})));
  CHECK(run.data()["images"][0]["frames"] == json({{"folder", "00007/images"}, {"count", 3}}));
}

TEST_CASE("what is listed is limited; what is counted is not", "[report]") {
  MadeUpRun run;
  for (int prompt = 0; prompt < 5; ++prompt) {
    run.result(prompt, measured(1, 2), measured(3, 1));
    run.evaluation(prompt, 0, 1, 2);
  }
  report::Limits limits;
  limits.images = 3;
  limits.curves = 2;
  const json data = run.data(limits);
  CHECK(data["count"] == 5);
  CHECK(data["images"].size() == 3);
  CHECK(data["images"][1].contains("curve"));
  CHECK_FALSE(data["images"][2].contains("curve"));
  CHECK(data["mean"]["count"] == json({3}));
}

TEST_CASE("a run that goes on is read as far as it is", "[report]") {
  MadeUpRun run;
  run.result(0, measured(1, 2), measured(3, 1));
  run.evaluation(1, 0, 1, 1);
  run.evaluation(1, 1, 5, 1);
  run.evaluation(1, 2, 2, 1);
  run.metrics += R"({"prompt": 1, "iteration": 3, "sco)";
  const auto record = run.read();
  CHECK(record.results.is_null());
  REQUIRE(record.images.size() == 2);
  CHECK(record.count == 2);
  CHECK_FALSE(record.images[1].finished);
  CHECK(record.images[1].best_iteration == 1);
  CHECK(record.images[1].best[0] == 5.0);
  CHECK(record.images[1].best_image == fs::path("00001/best_image.png"));
  CHECK(run.data()["images"][1]["unfinished"] == 3);

  MadeUpRun nothing_yet;
  CHECK(nothing_yet.data()["images"].empty());
}

TEST_CASE("a damaged run is an error that says where", "[report]") {
  MadeUpRun run;
  run.result(0, measured(1, 2), measured(3, 1));
  run.results += "{\"prompt\": 1,\n";
  CHECK_THROWS_WITH(run.read(), Contains("results.jsonl:2: is damaged, or of another version"));
  run.results = "{\"prompt\": 1}\n";
  CHECK_THROWS_WITH(run.read(), Contains("results.jsonl:1: is damaged") && Contains("initial"));
  run.results = "";
  run.metrics = "[]\n";
  CHECK_THROWS_AS(run.read(), LoadError);
  run.metrics = "";
  write(run.file("experiment.toml"), "[run\n");
  CHECK_THROWS_WITH(run.read(), Contains("experiment.toml:1: "));
  write(run.file("experiment.toml"), "[[reward]]\nplugin = \"a\"\n");
  CHECK_THROWS_WITH(run.read(),
                    Contains("experiment.toml: is damaged, or of another version") && Contains("name"));
  write(run.file("experiment.toml"), "[run]\n");
  write(run.file("results.json"), "{");
  CHECK_THROWS_WITH(run.read(), Contains("results.json: is not valid JSON"));
  fs::remove(run.file("results.json"));
  // Iterations that cannot be: neither memory is taken for them nor are they believed.
  write(run.file("experiment.toml"), "[[reward]]\nname = \"a\"\n[[reward]]\nname = \"b\"\n");
  run.evaluation(0, 1 << 30, 1, 2);
  run.evaluation(0, -1, 1, 2);
  CHECK(run.read().images.empty());
}

TEST_CASE("a directory without a run, and none", "[report]") {
  const TemporaryFolder folder;
  CHECK_THROWS_WITH(report::write_report(folder.path(), folder.path() / "x.html", page),
                    Contains("holds neither a run nor a sweep"));
  CHECK_THROWS_WITH(report::write_report(folder.path() / "none", folder.path() / "x.html", page),
                    Contains("there is no such directory"));
}

}  // namespace
