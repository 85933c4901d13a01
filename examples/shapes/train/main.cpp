// shapes-train: makes the generator and the rewards of the coloured-shapes world from nothing.
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <array>
#include <boost/program_options.hpp>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "reno/error.hpp"
#include "reno/program.hpp"
#include "reno/run/signals.hpp"
#include "shapes/train/stages.hpp"

namespace {

using namespace reno;
using namespace reno::shapes;
namespace po = boost::program_options;

struct Stage {
  const char* name;
  const char* help;
  void (*train)(const StageOptions&);
};

/// In the order in which --all trains them.
constexpr std::array stages = {
    Stage{"generator", "noise and prompt to picture, taught by a rule; Stable Diffusion's layout",
          train_generator},
    Stage{"clip", "how well a picture fits a prompt; the reward clip-score, which the others build on",
          train_clip},
    Stage{"pickscore", "the same by comparisons of pictures; the reward pickscore", train_pickscore},
    Stage{"hpsv2", "the same with an eye for quality; the reward hpsv2", train_hpsv2},
    Stage{"imagereward", "reads the prompt while it looks at the picture; the reward imagereward",
          train_imagereward},
    Stage{"aesthetic", "how crisp, centred and rich in contrast a picture is; the reward aesthetic",
          train_aesthetic}};

po::options_description visible_options() {
  po::options_description options("Options", 100);
  // clang-format off
  options.add_options()
      ("all", "every stage, in the order above")
      ("output,o", po::value<std::string>()->value_name("DIR")->default_value("outputs/shapes"),
       "the models, laid out as examples/shapes is")
      ("checkpoints", po::value<std::string>()->value_name("DIR"),
       "state of the training; default: checkpoints in the output")
      ("seed", po::value<std::uint64_t>()->value_name("S")->default_value(0), "of weights, data and noise")
      ("scale", po::value<double>()->value_name("F")->default_value(1),
       "multiplies the number of steps: 2 for better models")
      ("tiny", "small batches and few steps: shows in half a minute that a stage learns, no more")
      ("threads", po::value<int>()->value_name("N")->default_value(1),
       "the networks are so small that more than one hardly help; the numbers depend on it")
      ("report-every", po::value<int>()->value_name("N")->default_value(100), "steps between lines with losses")
      ("save-every", po::value<int>()->value_name("N")->default_value(500),
       "steps between checkpoints and held-out scores")
      ("help,h", "print this help");
  // clang-format on
  return options;
}

std::string usage() {
  std::string text =
      "Usage: shapes-train STAGE... [options]\n"
      "Trains models of the coloured-shapes world from nothing, on the CPU, and writes them in the formats "
      "of the\n"
      "published ones. A stage that was stopped (Ctrl-C, or worse) continues from its checkpoint; one that "
      "is done\n"
      "writes its model again. Equal seed, scale and threads give equal weights on the same machine.\n\n"
      "Stages:\n";
  for (const auto& stage : stages) text += fmt::format("  {:<12}{}\n", stage.name, stage.help);
  return text + "\n";
}

po::variables_map parse_arguments(int argc, char** argv) {
  po::options_description all = visible_options();
  all.add_options()("stage", po::value<std::vector<std::string>>());
  po::positional_options_description positional;
  positional.add("stage", -1);
  po::variables_map values;
  try {
    po::store(po::command_line_parser(argc, argv).options(all).positional(positional).run(), values);
    po::notify(values);
  } catch (const po::error& error) {
    throw ConfigurationError(fmt::format("{}; shapes-train --help lists all options", error.what()));
  }
  return values;
}

template <class T>
T in_range(const po::variables_map& values, const char* option, T least, T most) {
  const T value = values[option].as<T>();
  if (!(value >= least && value <= most))
    throw ConfigurationError(fmt::format("--{} {} is not between {} and {}", option, value, least, most));
  return value;
}

StageOptions read_options(const po::variables_map& values) {
  StageOptions options;
  options.output = values["output"].as<std::string>();
  options.checkpoints = values.count("checkpoints") != 0
                            ? std::filesystem::path(values["checkpoints"].as<std::string>())
                            : options.output / "checkpoints";
  options.seed = values["seed"].as<std::uint64_t>();
  options.tiny = values.count("tiny") != 0;
  options.scale = in_range(values, "scale", 1e-4, 1e3);
  options.report_every = in_range(values, "report-every", 1, 1 << 30);
  options.save_every = in_range(values, "save-every", 1, 1 << 30);
  return options;
}

std::set<std::string> wanted_stages(const po::variables_map& values) {
  std::set<std::string> wanted;
  if (values.count("stage") != 0)
    for (const auto& name : values["stage"].as<std::vector<std::string>>()) wanted.insert(name);
  std::string names;
  std::set<std::string> known;
  for (const auto& stage : stages) {
    names.append(names.empty() ? "" : ", ").append(stage.name);
    known.insert(stage.name);
  }
  for (const auto& name : wanted)
    if (!known.contains(name))
      throw ConfigurationError(fmt::format("unknown stage '{}'; have: {}", name, names));
  if (values.count("all") != 0) return known;
  if (wanted.empty())
    throw ConfigurationError("nothing to train: name stages, or --all; shapes-train --help explains");
  return wanted;
}

void perform(int argc, char** argv) {
  const auto values = parse_arguments(argc, argv);
  if (values.count("help") != 0) {
    fmt::print("{}{}", usage(), (std::ostringstream() << visible_options()).str());
    return;
  }
  const auto wanted = wanted_stages(values);
  const auto options = read_options(values);
  at::set_num_threads(in_range(values, "threads", 1, 1024));
  catch_stop_signals();
  for (const auto& stage : stages)
    if (wanted.contains(stage.name)) stage.train(options);
}

}  // namespace

int main(int argc, char** argv) {
  return reno::run_program("shapes-train", [&] { perform(argc, argv); });
}
