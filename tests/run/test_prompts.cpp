#include <catch2/catch.hpp>
#include <fstream>

#include "reno/run/samples.hpp"
#include "support/temporary_folder.hpp"

namespace {

using namespace reno;
using namespace reno::test;
using Catch::Contains;
using Labels = std::vector<std::pair<std::string, std::string>>;

/// A file of prompts, read as a task reads it.
struct List {
  TemporaryFolder folder;
  Experiment experiment;

  List(Task task, const std::string& text) {
    std::ofstream(folder.path() / "prompts", std::ios::binary) << text;
    experiment.run.task = task;
    experiment.run.prompts = folder.path() / "prompts";
  }

  std::vector<PromptItem> read() const {
    std::vector<PromptItem> items;
    PromptReader reader(experiment);
    while (auto item = reader.next()) items.push_back(std::move(*item));
    return items;
  }

  std::vector<std::string> texts() const {
    std::vector<std::string> result;
    for (const auto& item : read()) result.push_back(item.text);
    return result;
  }
};

TEST_CASE("lines: CRLF, blank lines, a byte-order mark, no end at the end", "[prompts]") {
  const List list(Task::example_prompts, "\xEF\xBB\xBFone\r\n\r\n \t \n  two \nthree, \"four\"\nfünf");
  CHECK(list.texts() == std::vector<std::string>{"one", "  two ", "three, \"four\"", "fünf"});
  CHECK(list.read()[3].index == 3);
  CHECK(count_prompts(list.experiment) == 4);
  CHECK(List(Task::t2i_compbench, " a café \r\nred\tx\r\n").texts() ==
        std::vector<std::string>{"a café", "red"});
  CHECK(List(Task::example_prompts, std::string("a\0b\n", 4)).texts() ==
        std::vector<std::string>{std::string("a\0b", 3)});
}

TEST_CASE("a line that is no prompt is refused before memory is full of it", "[prompts]") {
  const List list(Task::example_prompts, "short\n" + std::string(3 << 20, 'x'));
  CHECK_THROWS_WITH(list.read(), Contains("prompts:1: a line is longer than 1 MiB"));
}

TEST_CASE("GenEval's metadata: the prompt, its tag, and the object as it stands", "[prompts]") {
  // github.com/djghosh13/geneval, prompts/evaluation_metadata.jsonl
  const std::string first =
      R"({"tag": "single_object", "include": [{"class": "bench", "count": 1}], "prompt": "a photo of a bench"})";
  const List list(Task::geneval, first + "\r\n\n" + R"({"prompt": "a {\"}]", "tag": "colors"})");
  const auto items = list.read();
  REQUIRE(items.size() == 2);
  CHECK(items[0].text == "a photo of a bench");
  CHECK(items[0].labels == Labels{{"tag", "single_object"}});
  CHECK(items[0].metadata == first);
  CHECK(items[1].text == "a {\"}]");

  const auto fault = [](const std::string& text) {
    const List broken(Task::geneval, text);
    try {
      broken.read();
    } catch (const ConfigurationError& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  CHECK_THAT(fault(first + "\n{\"prompt\": 3}\n"), Contains("prompts:2: expected an object with a string"));
  CHECK_THAT(fault(first + "\na photo\n"), Contains("prompts:2: expected a JSON object"));
  CHECK_THAT(fault("{\"prompt\": \"a\""), Contains("a JSON object has no end"));
  CHECK_THAT(fault("{\"prompt\" \"a\"}"), Contains("prompts:1: is not valid JSON"));
  CHECK_THAT(fault("{\"prompt\": \"" + std::string(2 << 20, 'a')), Contains("larger than 1 MiB"));
}

TEST_CASE("PartiPrompts as TSV: as published, and as pandas writes it", "[prompts]") {
  // github.com/google-research/parti, PartiPrompts.tsv
  const List published(
      Task::parti_prompts,
      "Prompt\tCategory\tChallenge\tNote\nbond\tAbstract\tBasic\tBiology-inspired concepts\n"
      "a corgi’s head\tAnimals\tPerspective\t\n"
      "\"G I G G L E\" painted in thick colorful lettering\tIllustrations\tWriting & Symbols\t\n");
  const auto items = published.read();
  REQUIRE(items.size() == 3);
  CHECK(items[0].labels == Labels{{"category", "Abstract"}, {"challenge", "Basic"}});
  CHECK(items[1].text == "a corgi’s head");
  CHECK(items[2].text == "\"G I G G L E\" painted in thick colorful lettering");

  const List pandas(Task::parti_prompts,
                    "\tChallenge\tPrompt\r\n0\tBasic\t\"the word \"\"PEACE\"\" on a wall\"\r\n");
  REQUIRE(pandas.texts() == std::vector<std::string>{"the word \"PEACE\" on a wall"});
  CHECK(pandas.read()[0].labels == Labels{{"challenge", "Basic"}});

  CHECK_THROWS_WITH(List(Task::parti_prompts, "a cat\na dog\n").read(),
                    Contains("prompts:1: expected a header with a column Prompt"));
  CHECK_THROWS_WITH(List(Task::parti_prompts, "Prompt\tCategory\na\tb\tc\n").read(),
                    Contains("prompts:2: has 3 cells, but the header has 2 columns"));
  CHECK_THROWS_WITH(List(Task::parti_prompts, "Prompt\tCategory\n\tb\n").read(),
                    Contains("prompts:2: the cell of the column Prompt is empty"));
}

TEST_CASE("PartiPrompts as JSON: lines, and one array", "[prompts]") {
  const std::string a = R"({"Prompt": "bond", "Category": "Abstract", "Challenge": "Basic", "Note": null})";
  const std::string b = R"({"Category": "Arts", "Prompt": "Salvador Dal\u00ed"})";
  for (const auto& text : {a + "\n" + b + "\n", "[\n  " + a + ",\n  " + b + "\n]\n"}) {
    const auto items = List(Task::parti_prompts, text).read();
    REQUIRE(items.size() == 2);
    CHECK(items[0].labels == Labels{{"category", "Abstract"}, {"challenge", "Basic"}});
    CHECK(items[1].text == "Salvador Dalí");
  }
}

TEST_CASE("images are numbered by prompt, then seed; batches cut that order", "[prompts]") {
  List list(Task::geneval, "{\"prompt\": \"a\"}\n{\"prompt\": \"b\"}\n");
  list.experiment.run.seed = 7;
  list.experiment.run.batch = 3;
  BatchReader reader(list.experiment);
  std::vector<std::string> seen;
  for (auto batch = reader.next(); !batch.samples.empty(); batch = reader.next()) {
    for (const auto& sample : batch.samples)
      seen.push_back(fmt::format("{}:{}{}{}", batch.index, sample.number, sample.prompt.text, sample.seed));
  }
  CHECK(seen ==
        std::vector<std::string>{"0:0a7", "0:1a8", "0:2a9", "1:3a10", "1:4b7", "1:5b8", "2:6b9", "2:7b10"});
}

TEST_CASE("the benchmarks' own files", "[prompts]") {
  const std::filesystem::path folder = RENO_SOURCE_DIR "/../shared/benchmarks";
  if (!std::filesystem::exists(folder)) {
    WARN("skipped: the benchmarks' files are not here");
    return;
  }
  const auto read = [&](Task task, const char* file) {
    List list(task, "");
    list.experiment.run.prompts = folder / file;
    return list.read();
  };
  const auto geneval = read(Task::geneval, "geneval/evaluation_metadata.jsonl");
  CHECK(geneval.size() == 553);
  CHECK(geneval[552].labels.size() == 1);
  const auto parti = read(Task::parti_prompts, "parti/PartiPrompts.tsv");
  REQUIRE(parti.size() == 1632);
  CHECK(parti[53].text == "Salvador Dalí");
  CHECK(parti[1560].text.starts_with("\"G I G G L E\" painted"));
  for (const auto& item : parti) REQUIRE(item.labels.size() == 2);
  CHECK(read(Task::t2i_compbench, "t2i-compbench/color.txt").size() == 860);
  const auto spatial = read(Task::t2i_compbench, "t2i-compbench/non_spatial.txt");
  CHECK(spatial[4].text == "A person is wearing sunglasses and people-watching at a café.");
}

}  // namespace
