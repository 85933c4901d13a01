// reno-judge: says how many pictures of a folder show what their prompts say, by category.
#include <fmt/format.h>

#include <boost/program_options.hpp>
#include <iostream>
#include <sstream>

#include "reno/error.hpp"
#include "reno/program.hpp"
#include "shapes/judge/find_images.hpp"
#include "shapes/judge/paired.hpp"
#include "shapes/judge/read_png.hpp"
#include "shapes/judge/tally.hpp"
#include "shapes/world/judge.hpp"

namespace {

using namespace reno;
using namespace reno::shapes;
namespace po = boost::program_options;

po::options_description visible_options() {
  po::options_description options("Options", 100);
  // clang-format off
  options.add_options()
      ("each", "a line for every picture: verdict, prompt, and what was found")
      ("json", "print the table as JSON")
      ("beside", po::value<std::string>()->value_name("OTHER"),
       "compare with another run, picture by picture: differences, with 95 % bootstrap intervals")
      ("make-prompts", po::value<int>()->value_name("N"),
       "print N held-out prompts of each category as GenEval's metadata instead")
      ("seed", po::value<std::uint64_t>()->value_name("S")->default_value(0), "of those prompts")
      ("help,h", "print this help");
  // clang-format on
  return options;
}

constexpr const char* usage =
    "Usage: reno-judge DIR [options]\n"
    "Judges the pictures of coloured shapes in DIR: what a run of reno-run wrote (before and after), or a "
    "folder\n"
    "in GenEval's layout ({index:05}/metadata.jsonl and {index:05}/samples/*.png).\n"
    "correct: all that was asked for is there (GenEval's rule); strict: and nothing else; partial: which "
    "part "
    "of it.\n"
    "In brackets: 95 % confidence intervals. The mean is over the categories.\n\n";

po::variables_map parse_arguments(int argc, char** argv) {
  po::options_description all = visible_options();
  all.add_options()("folder", po::value<std::string>());
  po::positional_options_description positional;
  positional.add("folder", 1);
  po::variables_map values;
  try {
    po::store(po::command_line_parser(argc, argv).options(all).positional(positional).run(), values);
    po::notify(values);
  } catch (const po::error& error) {
    throw ConfigurationError(fmt::format("{}; reno-judge --help lists all options", error.what()));
  }
  return values;
}

std::string found_text(const std::vector<Detection>& objects) {
  std::string text;
  for (const auto& object : objects)
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", color_names[object.color],
                        object.shape ? shape_names[*object.shape] : "something");
  return text.empty() ? "nothing" : text;
}

Verdict judge_picture(const LabelledImage& image) {
  return judge(detect(to_world_size(read_png(image.file), image.file)), image.wanted);
}

/// Pairs pictures by their names; what only one run has is left out and told.
void judge_pairs(const std::filesystem::path& folder, const std::filesystem::path& other) {
  std::map<std::string, LabelledImage> others;
  for (const auto& image : find_images(other))
    others.emplace(image.file.lexically_relative(other).string(), image);
  PairedTable table;
  std::size_t unpaired = 0, pairs = 0;
  for (const auto& image : find_images(folder)) {
    if (image.series == "before") continue;
    const auto match = others.find(image.file.lexically_relative(folder).string());
    if (match == others.end() || text(match->second.wanted) != text(image.wanted)) {
      ++unpaired;
      continue;
    }
    table.add(category(image.wanted), judge_picture(image), judge_picture(match->second));
    ++pairs;
  }
  if (pairs == 0)
    throw ConfigurationError(fmt::format("{} and {} have no picture of the same prompt and seed",
                                         folder.string(), other.string()));
  fmt::print("{}", table.text(fmt::format("{} less {}", folder.string(), other.string())));
  if (unpaired != 0) fmt::print("{} pictures have no counterpart\n", unpaired);
  if (!std::filesystem::exists(folder / "results.jsonl") || !std::filesystem::exists(other / "results.jsonl"))
    return;
  if (const auto loss = paired_loss(folder, other))
    fmt::print("total loss: {}\n", PairedTable::with_interval(*loss));
}

void judge_folder(const std::filesystem::path& folder, bool each, bool as_json) {
  std::vector<std::pair<std::string, Table>> series;  // in the order of their first picture
  for (const auto& image : find_images(folder)) {
    const auto objects = detect(to_world_size(read_png(image.file), image.file));
    const auto verdict = judge(objects, image.wanted);
    auto known = std::find_if(series.begin(), series.end(),
                              [&](const auto& item) { return item.first == image.series; });
    if (known == series.end()) known = series.insert(known, {image.series, {}});
    known->second.add(category(image.wanted), verdict);
    if (each)
      fmt::print("{}  {:<7}  {}: {}\n", image.file.lexically_relative(folder).string(),
                 verdict.strict    ? "strict"
                 : verdict.correct ? "correct"
                                   : "wrong",
                 text(image.wanted), found_text(objects));
  }
  nlohmann::ordered_json json;
  for (const auto& [title, table] : series) {
    if (as_json)
      json[title] = table.json();
    else
      fmt::print("{}{}", &title == &series.front().first && !each ? "" : "\n", table.text(title));
  }
  if (as_json) fmt::print("{}\n", json.dump(2));
}

void perform(int argc, char** argv) {
  const auto values = parse_arguments(argc, argv);
  if (values.count("help") != 0) {
    fmt::print("{}{}", usage, (std::ostringstream() << visible_options()).str());
  } else if (values.count("make-prompts") != 0) {
    const int count = values["make-prompts"].as<int>();
    if (count < 1 || count > 100'000)
      throw ConfigurationError(fmt::format("--make-prompts {} is not between 1 and 100000", count));
    for (const auto& description : held_out_descriptions(count, values["seed"].as<std::uint64_t>()))
      fmt::print("{}\n", to_metadata(description).dump());
  } else if (values.count("folder") != 0 && values.count("beside") != 0) {
    judge_pairs(values["folder"].as<std::string>(), values["beside"].as<std::string>());
  } else if (values.count("folder") != 0) {
    judge_folder(values["folder"].as<std::string>(), values.count("each") != 0, values.count("json") != 0);
  } else {
    throw ConfigurationError("no folder given: reno-judge DIR, or reno-judge --help");
  }
}

}  // namespace

int main(int argc, char** argv) {
  return reno::run_program("reno-judge", [&] { perform(argc, argv); });
}
