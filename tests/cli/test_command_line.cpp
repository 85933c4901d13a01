// What reno-run says to a command line that it does not understand.
#include <catch2/catch.hpp>

#include "support/program.hpp"

using reno::test::reno_run;

TEST_CASE("A wrong command line ends with status 2 and one sentence", "[cli]") {
  const auto [arguments, sentence] = GENERATE(table<std::vector<std::string>, std::string>({
      {std::vector<std::string>(), "no experiment given: reno-run FILE.toml, or reno-run --help"},
      {{""}, "no experiment given: reno-run FILE.toml, or reno-run --help"},
      {{"a.toml", "b.toml"}, "one experiment at a time: 'b.toml' is a second one"},
      {{"a.toml", "--overwrit"}, "unknown option '--overwrit', did you mean '--overwrite'?"},
      {{"a.toml", "--dry"}, "unknown option '--dry', did you mean '--dry-run'?"},
      {{"a.toml", "--xyzzy"}, "unknown option '--xyzzy'; reno-run --help lists all options"},
      {{"a.toml", "-x"}, "unknown option '-x'; reno-run --help lists all options"},
      {{"a.toml", "--set"}, "--set needs a value: --set KEY=VALUE"},
      {{"--describe"}, "--describe needs a value: --describe NAME"},
      {{"--list=yes"}, "--list takes no value"},
      {{"a.toml", "--output", "b", "-o", "c"}, "--output is given more than once"},
      {{"a.toml", "--resume", "--overwrite"}, "--resume and --overwrite exclude each other"},
      {{"a.toml", "--shard", "0/2", "--overwrite"},
       "--overwrite and --shard exclude each other: the other shards' work is there"},
      {{"a.toml", "--shard", "2/2"}, "--shard 2/2: expected I/N, such as 0/4 to 3/4"},
      {{"a.toml", "--shard", "0/1000"},
       "--shard 0/1000: expected I/N, such as 0/4 to 3/4, where no number is above 500"},
      {{"a.toml", "-j", "2", "--shard", "0/2"}, "--jobs, --shard and --launcher exclude each other"},
      {{"a.toml", "--jobs", "0"}, "--jobs 0: expected a number of processes"},
      {{"a.toml", "--launcher", "pbs"}, "unknown launcher 'pbs'; have: slurm"},
      {{"--status", "no/such"},
       "no/such: holds neither a run nor a sweep (there is no experiment.toml in it)"},
      {{"a.toml", "-qv"}, "--quiet and --verbose exclude each other"},
  }));
  CAPTURE(arguments);
  const auto outcome = reno_run(arguments);
  CHECK(outcome.status == 2);
  CHECK(outcome.errors == "reno-run: " + sentence + "\n");
  CHECK(outcome.output.empty());
}

TEST_CASE("Overrides are named as they were typed", "[cli]") {
  const auto outcome =
      reno_run({"configs/quickstart.toml", "--set", "run.iteratons=10", "--set=run.batch=0"});
  CHECK(outcome.status == 2);
  CHECK(outcome.errors ==
        "reno-run: --set run.iteratons=10: unknown key 'iteratons', did you mean 'iterations'?\n"
        "reno-run: --set run.batch=0: run.batch = 0 is outside [1, inf)\n");
}
