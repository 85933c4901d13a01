// Sweeps: their cells, what is done and skipped, the table, and that shards come to the same.
#include <spdlog/sinks/null_sink.h>

#include <catch2/catch.hpp>

#include "reno/report/sweep_page.hpp"
#include "reno/run/sweep_run.hpp"
#include "run/trial.hpp"

namespace {

using namespace reno;
using namespace reno::test;
namespace fs = std::filesystem;
using Catch::Contains;

std::vector<std::string> names_of(const SweepPlan& plan) {
  std::vector<std::string> names;
  for (std::int64_t i = 0; i < plan.size(); ++i) names.push_back(plan.cell(i).name);
  return names;
}

/// A sweep of fake components, read from a file as users write it.
struct SweepTrial : Trial {
  std::string rewards =
      "[[reward]]\nplugin = \"square\"\nname = \"a\"\nweight = 1.0\n"
      "[[reward]]\nplugin = \"square\"\nname = \"b\"\nweight = 0.5\n"
      "[[reward]]\nplugin = \"square\"\nname = \"c\"\nweight = 0.25\n"
      "[[reward]]\nplugin = \"black-box\"\nname = \"watched\"\nweight = 0.0\n";
  std::string sweep = "kind = \"leave-one-out\"\n";

  SweepTrial() { write_prompts("one\ntwo dogs\nthree cats\nfour\nfive\n"); }

  fs::path file() const {
    const auto path = folder.path() / "sweep.toml";
    std::ofstream(path) << fmt::format(
        "[run]\noutput = \"{}\"\ndevice = \"cpu\"\ntask = \"example-prompts\"\nprompts = \"prompts\"\n"
        "iterations = 4\n{}\n[generator]\nplugin = \"sigmoid\"\n{}[sweep]\n{}",
        output().string(), run, rewards, sweep);
    return path;
  }

  Experiment read() const { return read_experiment(file(), registry); }

  SweepSummary execute() {
    const auto experiment = read();
    auto log = std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::null_sink_mt>());
    return SweepRun(experiment, {file(), {}}, registry, c10::kCPU, log, settings).execute();
  }
};

TEST_CASE("leave-one-out: the full objective, then without each weighted reward", "[sweep]") {
  SweepTrial trial;
  const auto experiment = trial.read();
  const SweepPlan plan(experiment);
  CHECK(names_of(plan) == std::vector<std::string>{"all", "without a", "without b", "without c"});
  const auto cell = cell_experiment(plan.cell(2), {trial.file(), {}}, "/out", trial.registry);
  CHECK(cell.rewards[0].weight == 1.0);
  CHECK(cell.rewards[1].weight == 0.0);
  CHECK_FALSE(cell.sweep);
  CHECK(cell.run.output == "/out/cells/00002");
  CHECK(plan.cell(3).reference == 0);
}

TEST_CASE("combinations: all subsets, or those of one size", "[sweep]") {
  SweepTrial trial;
  trial.sweep = "kind = \"combinations\"\n";
  CHECK(names_of(SweepPlan(trial.read())) ==
        std::vector<std::string>{"all", "a + b", "a + c", "b + c", "a", "b", "c"});
  trial.sweep = "kind = \"combinations\"\nsize = 1\n";
  CHECK(names_of(SweepPlan(trial.read())) == std::vector<std::string>{"all", "a", "b", "c"});
}

TEST_CASE("a grid over any keys, with seeds; each is compared with the first of its seed", "[sweep]") {
  SweepTrial trial;
  trial.sweep =
      "kind = \"grid\"\nseeds = [3, 4]\n[sweep.grid]\n\"optimizer.lr\" = [1.0, 5]\nrun.iterations = [2, 3]\n";
  const SweepPlan plan(trial.read());
  REQUIRE(plan.size() == 8);
  CHECK(plan.cell(0).name == "optimizer.lr = 1.0, run.iterations = 2, seed 3");
  CHECK(plan.cell(3).name == "optimizer.lr = 1.0, run.iterations = 3, seed 4");
  CHECK(plan.cell(4).name == "optimizer.lr = 5, run.iterations = 2, seed 3");
  CHECK(plan.cell(5).reference == 1);
  const auto cell = cell_experiment(plan.cell(5), {trial.file(), {}}, "/out", trial.registry);
  CHECK(cell.run.iterations == 2);
  CHECK(cell.run.seed == 4);

  trial.sweep = "kind = \"leave-one-out\"\n[sweep.grid]\n\"optimizer.lr\" = [1.0, 5.0]\n";
  const SweepPlan both(trial.read());
  CHECK(both.cell(3).name == "without a, optimizer.lr = 5.0");
  CHECK(both.cell(3).reference == 1);
}

TEST_CASE("the section is written back as it was read", "[sweep]") {
  SweepTrial trial;
  trial.sweep =
      "kind = \"combinations\"\nsize = 2\nseeds = [3, 4]\n[sweep.grid]\n\"run.prompt\" = [\"a \\\"b\\\"\"]\n"
      "\"optimizer.lr\" = [1.0, 2]\n\"run.tensorboard\" = [true]\n[launcher]\nshards = 3\n";
  const auto experiment = trial.read();
  const auto again = parse_experiment(write_toml(experiment), trial.file(), trial.registry);
  CHECK(again == experiment);
  CHECK(again.launcher->shards == 3);
}

TEST_CASE("sweeps that make no sense are told so", "[sweep]") {
  SweepTrial trial;
  const auto problem = [&](const std::string& sweep) {
    trial.sweep = sweep;
    try {
      const SweepPlan plan(trial.read());
      for (std::int64_t i = 0; i < plan.size(); ++i)
        cell_experiment(plan.cell(i), {trial.file(), {}}, "/out", trial.registry);
      return std::string("none");
    } catch (const ConfigurationError& error) {
      return std::string(error.what());
    }
  };
  CHECK_THAT(problem("kind = \"grid\"\n"), Contains("sweep.kind = \"grid\" needs [sweep.grid]"));
  CHECK_THAT(problem("size = 2\n"), Contains("sweep.size is read by sweep.kind = \"combinations\" only"));
  CHECK_THAT(problem("kind = \"combinations\"\nsize = 9\n"),
             Contains("sweep.size = 9, but only 3 rewards have a weight above 0"));
  CHECK_THAT(problem("kind = \"leave-one-ou\"\n"), Contains("did you mean 'leave-one-out'?"));
  CHECK_THAT(problem("[sweep.grid]\n\"optimizer.lr\" = 3\n"),
             Contains("sweep.toml:") && Contains("sweep.grid.optimizer.lr is an integer, expected an array"));
  CHECK_THAT(problem("[sweep.grid]\n\"optimizer.lr\" = []\n"), Contains("is empty, expected an array"));
  CHECK_THAT(problem("[sweep.grid]\n\"optimizer.lrr\" = [1.0]\n"),
             Contains("cell 'all, optimizer.lrr = 1.0': --set optimizer.lrr=1.0: unknown key 'lrr'"));
  for (const char* key : {"run.device", "run.kernels", "run.output"})
    CHECK_THAT(problem(fmt::format("kind = \"grid\"\n[sweep.grid]\n\"{}\" = [\"a\", \"b\"]\n", key)),
               Contains(fmt::format("[sweep.grid] varies {}, which is one for all cells of a sweep", key)));
  trial.rewards = "[[reward]]\nplugin = \"square\"\n";
  CHECK_THAT(problem("kind = \"leave-one-out\"\n"), Contains("but only one has a weight above 0"));
}

TEST_CASE("a sweep leaves a table, a cell for each objective; models are loaded once", "[sweep]") {
  SweepTrial trial;
  const SweepSummary summary = trial.execute();
  CHECK(summary.complete);
  CHECK(summary.cells == 4);
  CHECK(summary.failed.empty());
  const auto rows = report::read_csv(trial.output() / "sweep.csv");
  REQUIRE(rows.size() == 4 * 5);
  CHECK(rows[0].at("cell") == "all");
  CHECK(rows[0].at("reward") == "a");
  CHECK(rows[0].at("images") == "5");
  CHECK(rows[0].at("difference").empty());
  CHECK(rows[6].at("cell") == "without a");
  // The mean and the difference are those of the cells' own results.
  const auto mean = [&](const char* cell) {
    return read_json(trial.output() / "cells" / cell / "results.json")["mean"]["scores"]["b"]["best"]
        .get<double>();
  };
  CHECK(std::stod(rows[6].at("best")) == Approx(mean("00001")).epsilon(1e-5));
  CHECK(std::stod(rows[6].at("difference")) == Approx(mean("00001") - mean("00000")).margin(1e-4));
  CHECK(std::stod(rows[6].at("low")) <= std::stod(rows[6].at("best")));
  CHECK(std::stod(rows[6].at("best")) <= std::stod(rows[6].at("high")));
  const std::string table = read_file(trial.output() / "sweep.md");
  CHECK_THAT(table, Contains("| objective | a | b | c | watched |") && Contains("\n| without c | "));
  const auto sweep = report::read_sweep(trial.output());
  CHECK(sweep.cells.size() == 4);
  CHECK(sweep.cells[1].weights.at("a") == 0.0);
}

TEST_CASE("models are shared as long as they are the same", "[sweep]") {
  Trial trial;
  Models models;
  const Context context = make_context(trial.experiment(), c10::kCPU, nullptr);
  auto experiment = trial.experiment();
  const Objective* first = &models.get(experiment, trial.registry, context);
  experiment.rewards[0].weight = 3.0;
  experiment.run.seed = 9;
  CHECK(&models.get(experiment, trial.registry, context) == first);
  CHECK(first->rewards()[0].weight == 3.0);
  CHECK(models.loads() == 1);
  trial.more = "[[reward]]\nplugin = \"square\"\nname = \"other\"\n";
  models.get(trial.experiment(), trial.registry, context);
  CHECK(models.loads() == 2);
  experiment.rewards = {};
  trial.more =
      "[[reward]]\nplugin = \"square\"\nweight = 1.0\n[[reward]]\nplugin = \"black-box\"\nweight = 0.0\n";
  experiment = trial.experiment();
  models.get(experiment, trial.registry, context);
  experiment.rewards[1].weight = 1.0;
  CHECK_THROWS_WITH(models.get(experiment, trial.registry, context), Contains("'black-box' has no gradient"));
}

TEST_CASE("cells that fail are recorded, one by one, and tried again", "[sweep]") {
  SweepTrial trial;
  trial.rewards += "[[reward]]\nplugin = \"failing\"\nweight = 0.0\n";
  trial.sweep = "kind = \"grid\"\n[sweep.grid]\n\"run.iterations\" = [1, 2]\n";
  trial.run = "";
  const SweepSummary summary = trial.execute();  // NaN from the third score on, whatever the cell
  CHECK(summary.failed.size() == 2);
  CHECK_THAT(read_file(trial.output() / "cells" / "00000" / "error.txt"), Contains("'failing' is NaN"));
  const auto rows = report::read_csv(trial.output() / "sweep.csv");
  REQUIRE(rows.size() == 2);
  CHECK(rows[0].at("status") == "failed");
  CHECK(rows[1].at("status") == "failed");
  fs::remove(trial.output() / "cells" / "00001" / "error.txt");
  trial.settings.existing = Existing::resume;
  CHECK(trial.execute().failed.size() == 2);
  CHECK(fs::exists(trial.output() / "cells" / "00001" / "error.txt"));
}

TEST_CASE("what is finished is skipped; an interrupted sweep goes on where it was", "[sweep]") {
  SweepTrial straight;
  straight.execute();
  SweepTrial trial;
  trial.settings.existing = Existing::resume;
  int asked = 0;
  trial.settings.should_stop = [&] { return ++asked == 25; };
  CHECK_THROWS_AS(trial.execute(), Interrupted);
  CHECK_FALSE(fs::exists(trial.output() / "sweep.csv"));
  REQUIRE(is_complete(trial.output() / "cells" / "00000"));
  const auto before = fs::last_write_time(trial.output() / "cells" / "00000" / "results.json");
  trial.settings.should_stop = [] { return false; };
  trial.execute();
  CHECK(fs::last_write_time(trial.output() / "cells" / "00000" / "results.json") == before);
  CHECK(read_file(trial.output() / "sweep.csv") == read_file(straight.output() / "sweep.csv"));
  CHECK(read_file(trial.output() / "sweep.md") == read_file(straight.output() / "sweep.md"));
  trial.sweep = "kind = \"combinations\"\n";
  CHECK_THROWS_WITH(trial.execute(),
                    Contains("sweep.kind = \"leave-one-out\"; here sweep.kind = \"combinations\""));
}

/// Runs all shards, one after the other, last first.
template <class AnyTrial>
void run_shards(AnyTrial& trial, std::int64_t count) {
  for (std::int64_t i = count; i-- > 0;) {
    trial.settings.shard = {i, count};
    trial.execute();
  }
}

TEST_CASE("shards come to the table of one process, whatever the batches", "[sweep][shard]") {
  const std::string run = GENERATE("batch = 5", "batch = 2", "batch = 1\nsamples = 2");
  SweepTrial straight;
  SweepTrial shared;
  for (SweepTrial* trial : {&straight, &shared}) trial->run = run;
  straight.execute();
  run_shards(shared, 3);
  CHECK(read_file(shared.output() / "sweep.csv") == read_file(straight.output() / "sweep.csv"));
  CHECK(read_file(shared.output() / "sweep.md") == read_file(straight.output() / "sweep.md"));
  const auto results = fs::path("cells") / "00002" / "results.jsonl";
  CHECK(read_file(shared.output() / results) == read_file(straight.output() / results));
}

TEST_CASE("what several processes left undone, another number of them finishes", "[sweep][shard]") {
  const std::int64_t count = GENERATE(1, 3);
  SweepTrial straight;
  SweepTrial shared;
  for (SweepTrial* trial : {&straight, &shared}) trial->run = "batch = 2";
  straight.execute();
  shared.settings.shard = {0, 2};
  int asked = 0;
  shared.settings.should_stop = [&] { return ++asked == 7; };
  CHECK_THROWS_AS(shared.execute(), Interrupted);
  CHECK(read_latest_statuses(shared.output()).size() == 2);
  shared.settings.should_stop = [] { return false; };
  shared.settings.existing = Existing::resume;
  run_shards(shared, count);
  CHECK(read_latest_statuses(shared.output()).size() == static_cast<std::size_t>(count));
  CHECK(read_file(shared.output() / "sweep.csv") == read_file(straight.output() / "sweep.csv"));
}

TEST_CASE("shards of a run are merged by the last, in the order of one process", "[shard]") {
  const int count = GENERATE(2, 3, 7);
  Trial straight;
  Trial shared;
  for (Trial* trial : {&straight, &shared}) {
    trial->write_prompts("one\ntwo\nthree\nfour\nfive\n");
    trial->run = "task = \"example-prompts\"\nprompts = \"prompts\"\nbatch = 2\niterations = 3\n";
  }
  straight.execute();
  shared.settings.shard = {0, count};
  CHECK(shared.execute().results.is_null());
  CHECK_FALSE(fs::exists(shared.output() / "results.json"));
  for (int i = 1; i < count; ++i) {
    shared.settings.shard = {i, count};
    shared.execute();
  }
  CHECK(read_file(shared.output() / "results.jsonl") == read_file(straight.output() / "results.jsonl"));
  CHECK(read_lines(shared.output() / "metrics.jsonl").size() == 15);
  const auto merged = read_json(shared.output() / "results.json");
  CHECK(merged["complete"] == true);
  CHECK(merged["iterations"] == 9);
  CHECK(merged["mean"] == read_json(straight.output() / "results.json")["mean"]);
  CHECK(read_file(shared.output() / "00004" / "best_noise.safetensors") ==
        read_file(straight.output() / "00004" / "best_noise.safetensors"));

  shared.settings.shard = {0, count};
  CHECK_THROWS_WITH(shared.execute(), Contains(fmt::format("already holds shard 0/{} of a run", count)));
  shared.settings.shard = {0, count + 1};
  CHECK_THROWS_WITH(shared.execute(),
                    Contains(fmt::format("was begun by {} shards: it cannot be continued by {} "
                                         "shards",
                                         count, count + 1)));
  shared.settings.shard = {};
  shared.settings.existing = Existing::resume;
  CHECK_THROWS_WITH(shared.execute(), Contains("it cannot be continued by one process"));
  straight.settings.shard = {0, 2};
  CHECK_THROWS_WITH(straight.execute(), Contains("was begun by one process"));
}

TEST_CASE("every batch has one shard, and shares add up", "[shard]") {
  for (const std::int64_t count : {1, 2, 5}) {
    for (const std::int64_t offset : {0, 1, 7}) {
      for (const std::int64_t batches : {0, 1, 4, 11}) {
        std::int64_t shares = 0;
        for (std::int64_t i = 0; i < count; ++i) {
          const Shard shard{i, count, offset};
          std::int64_t own = 0;
          for (std::int64_t batch = 0; batch < batches; ++batch) own += shard.has(batch) ? 1 : 0;
          CHECK(shard.share(batches) == own);
          shares += own;
        }
        CHECK(shares == batches);
      }
    }
  }
}

TEST_CASE("the interval of a mean covers as often as it says, and pairs what is alike", "[bootstrap]") {
  at::manual_seed(7);
  int covered = 0;
  constexpr int trials = 200;
  for (int t = 0; t < trials; ++t) {
    BootstrapMean mean;
    const at::Tensor values = at::randn({40}, at::kDouble);
    for (int i = 0; i < 40; ++i)
      mean.add(values[i].item<double>(), BootstrapMean::counts(static_cast<std::uint64_t>(t * 40 + i)));
    const auto [low, high] = mean.interval().value();
    covered += low <= 0.0 && 0.0 <= high ? 1 : 0;
  }
  CHECK(covered >= 178);  // 95 % of 200, less 4 standard deviations
  CHECK(covered <= 200);

  BootstrapMean alike;
  for (std::uint64_t i = 0; i < 9; ++i) alike.add(0.25, BootstrapMean::counts(i));
  CHECK(alike.interval() == std::pair(0.25, 0.25));
  BootstrapMean single;
  single.add(1.0, BootstrapMean::counts(0));
  CHECK_FALSE(single.interval());
}

}  // namespace
