#include "command_line.hpp"

#include <fmt/format.h>

#include <boost/program_options.hpp>
#include <charconv>
#include <sstream>

#include "reno/did_you_mean.hpp"
#include "reno/error.hpp"

namespace reno {

namespace {

namespace po = boost::program_options;

po::options_description visible_options() {
  const auto text = [](const char* name) { return po::value<std::string>()->value_name(name); };
  const auto texts = [](const char* name) { return po::value<std::vector<std::string>>()->value_name(name); };
  po::options_description options("Options", 100);
  // clang-format off
  options.add_options()
      ("set", texts("KEY=VALUE"), "change one key of the experiment; may be repeated")
      ("output,o", text("DIR"), "directory of the results, short for --set run.output=DIR")
      ("dry-run", "check everything without computing: file, plugins, weights, shapes")
      ("resume", "continue the run in the output directory, or begin it; FILE may be that directory")
      ("overwrite", "replace the results that the output directory holds")
      ("jobs,j", text("N"), "share the work among N processes on this machine, one GPU each where there are several")
      ("shard", text("I/N"), "do part I of N, from 0/N to (N-1)/N; the last to finish merges")
      ("launcher", text("slurm"), "submit the work as an array job, as [launcher] says")
      ("status", text("DIR"), "show how far the run or sweep in DIR is")
      ("quiet,q", "print errors only")
      ("verbose,v", "print more")
      ("list", "list generators, rewards and optimizers, and plugins that were refused")
      ("describe", text("NAME"), "the options of a component, or of a section of the experiment file")
      ("reference", "the reference of the experiment file, as Markdown")
      ("plugin-dir", texts("DIR"), "another directory of plugins; may be repeated")
      ("version", "print the version")
      ("help,h", "print this help");
  // clang-format on
  return options;
}

std::vector<std::string> long_names(const po::options_description& options) {
  std::vector<std::string> names;
  for (const auto& option : options.options()) names.push_back("--" + option->long_name());
  return names;
}

po::variables_map parse(const std::vector<std::string>& arguments) {
  po::options_description visible = visible_options();
  po::options_description all;
  all.add(visible).add_options()("experiment", po::value<std::vector<std::string>>());
  po::positional_options_description positional;
  positional.add("experiment", -1);
  using namespace po::command_line_style;
  po::variables_map values;
  try {
    po::store(po::command_line_parser(arguments)
                  .options(all)
                  .positional(positional)
                  .style(unix_style & ~allow_guessing)
                  .run(),
              values);
  } catch (const po::unknown_option& error) {
    const std::string typed = error.get_option_name();
    const std::string meant = typed.starts_with("--") ? did_you_mean(typed, long_names(visible)) : "";
    throw ConfigurationError(fmt::format(
        "unknown option '{}'{}", typed,
        meant.empty() ? "; reno-run --help lists all options" : fmt::format(", did you mean '{}'?", meant)));
  } catch (const po::invalid_command_line_syntax& error) {
    const auto* option = visible.find_nothrow(error.get_option_name().substr(2), false);
    const bool lacks_value = option != nullptr && option->semantic()->max_tokens() > 0;
    throw ConfigurationError(lacks_value ? fmt::format("{} needs a value: {} {}", error.get_option_name(),
                                                       error.get_option_name(), option->format_parameter())
                                         : fmt::format("{} takes no value", error.get_option_name()));
  } catch (const po::multiple_occurrences& error) {
    throw ConfigurationError(fmt::format("{} is given more than once", error.get_option_name()));
  } catch (const po::error& error) {
    throw ConfigurationError(fmt::format("{}; reno-run --help lists all options", error.what()));
  }
  return values;
}

std::int64_t number(const std::string& text, const std::string& usage) {
  std::int64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || value < 0 || value > Shard::most)
    throw ConfigurationError(fmt::format("{}, where no number is above {}", usage, Shard::most));
  return value;
}

Shard parse_shard(const std::string& text) {
  const std::string usage = fmt::format("--shard {}: expected I/N, such as 0/4 to 3/4", text);
  const auto slash = text.find('/');
  if (slash == std::string::npos) throw ConfigurationError(usage);
  const Shard shard{number(text.substr(0, slash), usage), number(text.substr(slash + 1), usage)};
  if (shard.index >= shard.count) throw ConfigurationError(usage);
  return shard;
}

/// How the work is shared out; at most one of the ways.
void read_sharing(CommandLine& line, const po::variables_map& values) {
  std::vector<std::string> ways;
  for (const char* way : {"jobs", "shard", "launcher"}) {
    if (values.count(way) != 0) ways.push_back(values[way].as<std::string>());
  }
  if (ways.size() > 1) throw ConfigurationError("--jobs, --shard and --launcher exclude each other");
  if (values.count("jobs") != 0) {
    const std::string usage = fmt::format("--jobs {}: expected a number of processes", ways[0]);
    line.jobs = number(ways[0], usage);
    if (line.jobs < 1) throw ConfigurationError(usage);
  }
  if (values.count("shard") != 0) line.shard = parse_shard(ways[0]);
  if (values.count("launcher") != 0) {
    line.launcher = ways[0];
    if (line.launcher != "slurm")
      throw ConfigurationError(fmt::format("unknown launcher '{}'; have: slurm", line.launcher));
  }
  if (line.overwrite && !line.shard.whole())
    throw ConfigurationError("--overwrite and --shard exclude each other: the other shards' work is there");
}

}  // namespace

CommandLine parse_command_line(const std::vector<std::string>& arguments) {
  const po::variables_map values = parse(arguments);
  const auto list = [&](const char* name) {
    return values.count(name) != 0 ? values[name].as<std::vector<std::string>>() : std::vector<std::string>{};
  };
  CommandLine line;
  line.overrides = list("set");
  if (values.count("output") != 0)
    line.overrides.push_back("run.output=" + values["output"].as<std::string>());
  for (const std::string& directory : list("plugin-dir")) line.plugins.emplace_back(directory);
  line.dry_run = values.count("dry-run") != 0;
  line.overwrite = values.count("overwrite") != 0;
  line.resume = values.count("resume") != 0;
  line.quiet = values.count("quiet") != 0;
  line.verbose = values.count("verbose") != 0;
  if (line.quiet && line.verbose) throw ConfigurationError("--quiet and --verbose exclude each other");
  if (line.resume && line.overwrite) throw ConfigurationError("--resume and --overwrite exclude each other");
  read_sharing(line, values);

  const std::pair<const char*, Action> actions[] = {
      {"help", Action::help},         {"version", Action::version},     {"list", Action::list},
      {"describe", Action::describe}, {"reference", Action::reference}, {"status", Action::status}};
  for (const auto& [name, action] : actions) {
    if (values.count(name) == 0) continue;
    line.action = action;
    if (action == Action::describe) line.described = values["describe"].as<std::string>();
    if (action == Action::status) line.watched = values["status"].as<std::string>();
    return line;
  }
  const std::vector<std::string> files = list("experiment");
  if (files.empty() || files.front().empty())
    throw ConfigurationError("no experiment given: reno-run FILE.toml, or reno-run --help");
  if (files.size() > 1) {
    throw ConfigurationError(fmt::format("one experiment at a time: '{}' is a second one", files[1]));
  }
  line.experiment = files.front();
  return line;
}

std::string help_text() {
  std::ostringstream text;
  text
      << "Usage: reno-run FILE.toml [options]\n"
         "\n"
         "Improves images of a one-step text-to-image generator by optimising their initial noise.\n"
         "\n"
         "  reno-run configs/quickstart.toml                  run an experiment\n"
         "  reno-run my.toml --set run.prompt=\"a red fox\"     with another prompt\n"
         "  reno-run my.toml --set reward.hpsv2.weight=2 --set optimizer.lr=10\n"
         "  reno-run my.toml --dry-run                        check it first\n"
         "  reno-run my.toml --resume                         continue what was stopped; finished prompts "
         "are\n"
         "                                                    not repeated\n"
         "  reno-run outputs/quickstart --resume              the same, from the directory alone\n"
         "  reno-run sweep.toml --jobs 4                      a file with [sweep] is many runs; in 4 "
         "processes\n"
         "  reno-run --status outputs/sweep                   how far it is\n"
         "  reno-run --list                                   what generators, rewards, optimizers there "
         "are\n"
         "  reno-run --describe hpsv2                         the options of one of them\n"
         "  reno-run --describe run                           the keys of the section [run]\n"
         "\n"
         "The smallest experiment:\n"
         "\n"
         "  [generator]\n"
         "  plugin = \"sd-turbo\"\n"
         "  [[reward]]\n"
         "  plugin = \"hpsv2\"\n"
         "\n"
      << visible_options()
      << "\n"
         "Exit status: 0 done, 2 bad usage or experiment file, 3 a plugin or weights cannot be loaded,\n"
         "4 the run failed, 130 interrupted, with everything saved up to there.\n"
         "\n"
         "SIGINT, SIGTERM and SIGUSR1 finish the iteration, save, and end the run. Whatever ended it, also\n"
         "SIGKILL or a full disk, --resume goes on and comes to the same noise, bit for bit. The experiment\n"
         "must be the same; run.output, run.device, run.checkpoint_seconds and [launcher] may differ.\n";
  return text.str();
}

}  // namespace reno
