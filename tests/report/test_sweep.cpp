// What the report reads from a sweep's directory.
#include <ATen/ATen.h>

#include <catch2/catch.hpp>
#include <fstream>

#include "reno/image/png.hpp"
#include "reno/report/sweep_page.hpp"
#include "support/temporary_folder.hpp"

namespace {

using namespace reno;
using namespace reno::test;
using Catch::Contains;
namespace fs = std::filesystem;

void write(const fs::path& file, const std::string& text) {
  fs::create_directories(file.parent_path());
  std::ofstream(file, std::ios::binary) << text;
}

const std::string names =
    "cell,folder,status,reward,images,initial,best,low,high,difference,difference_low,difference_high\n";

TEST_CASE("CSV with quotes, commas and line ends in fields", "[report]") {
  const TemporaryFolder folder;
  const auto file = folder.path() / "x.csv";
  write(file, "a,b\r\n\"1, \"\"2\"\"\n3\",\n,\"\"\nlast,\u03b1");
  const auto rows = report::read_csv(file);
  REQUIRE(rows.size() == 3);
  CHECK(rows[0].at("a") == "1, \"2\"\n3");
  CHECK(rows[0].at("b").empty());
  CHECK(rows[1].at("a").empty());
  CHECK(rows[2].at("b") == "\u03b1");
  write(file, "a,b\n1\n");
  CHECK_THROWS_WITH(report::read_csv(file), Contains("x.csv: row 1 has 1 fields, expected 2"));
  write(file, "a,b\n1,\"2\n");
  CHECK_THROWS_WITH(report::read_csv(file), Contains("a quoted field has no end"));
}

/// A cell's run directory; image `p` of the cell has the score `scores[p]`.
void make_cell(const fs::path& folder, double weight, const std::vector<double>& scores) {
  write(folder / "experiment.toml",
        fmt::format("[[reward]]\nname = \"a\"\nweight = 1.0\n[[reward]]\nname = \"b\"\nweight = {:.1f}\n",
                    weight));
  std::string lines;
  for (std::size_t p = 0; p < scores.size(); ++p) {
    lines += nlohmann::json{{"prompt", p},
                            {"seed", 0},
                            {"text", "prompt " + std::to_string(p)},
                            {"best", {{"scores", {{"a", scores[p]}, {"b", 0.0}}}}},
                            {"files", {{"best_image", std::to_string(p) + ".png"}}}}
                 .dump() +
             "\n";
    write(folder / (std::to_string(p) + ".png"), encode_png(at::rand({3, 4, 4})));
  }
  write(folder / "results.jsonl", lines);
}

TEST_CASE("a sweep is read: cells, values, what its objectives have, where they differ", "[report]") {
  const TemporaryFolder folder;
  write(folder.path() / "experiment.toml", "[sweep]\nkind = \"leave-one-out\"\n");
  write(folder.path() / "sweep.csv", names +
                                         "all,c0,done,total,3,,9,,,,,\n"
                                         "all,c0,done,a,3,1,2.5,2,3,,,\n"
                                         "all,c0,done,b,3,1,7,6,8,,,\n"
                                         "\"without, b\",c1,done,a,3,1,2.75,2,3,0.25,-1,1.5\n"
                                         "\"without, b\",c1,done,b,3,1,6,5,7,-1,-2,-0.5\n"
                                         "broken,c2,failed,,,,,,,,,\n");
  make_cell(folder.path() / "c0", 1.0, {1, 2, 3});
  make_cell(folder.path() / "c1", 0.0, {1.5, 7, 3});
  write(folder.path() / "c1" / "report.html", "x");
  const auto sweep = report::read_sweep(folder.path());
  CHECK(sweep.values == std::vector<std::string>{"a", "b"});  // the total losses do not compare
  REQUIRE(sweep.cells.size() == 3);
  CHECK(sweep.cells[1].name == "without, b");
  CHECK(sweep.cells[1].weights.at("b") == 0.0);
  CHECK(sweep.cells[1].values.at("b").difference_high == -0.5);
  CHECK(sweep.cells[2].status == "failed");
  const auto& contrasts = sweep.contrasts.at("a");
  REQUIRE(contrasts.size() == 3);
  CHECK(contrasts[0].text == "prompt 1");
  CHECK(contrasts[0].seed == 0);
  CHECK(contrasts[0].entries[0].cell == 1);
  CHECK(contrasts[0].entries[0].value == 7.0);
  CHECK(contrasts[0].entries[1].image == fs::path("c0/1.png"));

  const auto page = report::sweep_page(sweep, folder.path(), {});
  CHECK(page["kind"] == "sweep");
  CHECK(page["settings"]["sweep"]["kind"] == "leave-one-out");
  CHECK_FALSE(page["cells"][0]["values"][0].contains("difference"));
  CHECK(page["cells"][1]["page"] == "c1/report.html");
  CHECK(page["cells"][1]["values"][0]["differenceInterval"] == nlohmann::json({-1.0, 1.5}));
  CHECK(page["cells"][2]["values"][0].is_null());
  CHECK_THAT(page["contrasts"]["a"][0]["entries"][0]["picture"]["src"].get<std::string>(),
             Catch::StartsWith("data:image/png;base64,"));
}

TEST_CASE("cells of one objective keep their total loss", "[report]") {
  const TemporaryFolder folder;
  write(folder.path() / "experiment.toml", "[run]\n");
  write(folder.path() / "sweep.csv",
        names + "lr = 1,c0,done,total,3,,9,,,,,\nlr = 1,c0,done,a,3,1,2,,,,,\nlr = 2,c1,,total,3,,8,,,,,\n");
  make_cell(folder.path() / "c0", 1.0, {1});
  make_cell(folder.path() / "c1", 1.0, {1});
  const auto sweep = report::read_sweep(folder.path());
  CHECK(sweep.values == std::vector<std::string>{"a", "total"});
  CHECK(sweep.cells[1].status == "done");
}

TEST_CASE("a damaged sweep is an error that says where", "[report]") {
  const TemporaryFolder folder;
  write(folder.path() / "experiment.toml", "[run]\n");
  write(folder.path() / "sweep.csv", "cell,folder\nall,x\n");
  CHECK_THROWS_WITH(report::read_sweep(folder.path()), Contains("sweep.csv: there is no column 'reward'"));
  write(folder.path() / "sweep.csv", names + "all,c0,done,a,3,1,two,,,,,\n");
  CHECK_THROWS_WITH(report::read_sweep(folder.path()), Contains("best = \"two\" is no number"));
  write(folder.path() / "sweep.csv", names + "all,../../etc,done,a,3,1,2,,,,,\n");
  CHECK(report::read_sweep(folder.path()).cells[0].folder.empty());
}

}  // namespace
