// reno-report: writes the page of what a run left in its directory.
#include <fmt/format.h>

#include <boost/program_options.hpp>
#include <exception>
#include <iostream>
#include <sstream>

#include "reno/error.hpp"
#include "reno/program.hpp"
#include "reno/report/write_report.hpp"
#include "report_page.hpp"

namespace {

using namespace reno;
namespace po = boost::program_options;

po::options_description visible_options() {
  const report::Limits limits;
  po::options_description options("Options", 100);
  // clang-format off
  options.add_options()
      ("output,o", po::value<std::string>()->value_name("FILE"), "where the page goes, by default DIR/report.html")
      ("pictures", po::value<std::int64_t>()->value_name("MIB")->default_value(static_cast<std::int64_t>(limits.picture_bytes >> 20)),
       "how many MiB of pictures the page carries; the rest is linked")
      ("images", po::value<std::int64_t>()->value_name("N")->default_value(limits.images),
       "how many images are listed one by one; sums are over all")
      ("curves", po::value<std::int64_t>()->value_name("N")->default_value(limits.curves),
       "how many of them have their curves in the page")
      ("version", "print the version")
      ("help,h", "print this help");
  // clang-format on
  return options;
}

std::string help_text() {
  std::ostringstream text;
  text
      << "Usage: reno-report DIR [options]\n"
         "\n"
         "Writes one HTML file that shows what a run, a benchmark or a sweep left in DIR: images before and\n"
         "after, curves, tables, settings and times. It needs no network, and works while the run goes on.\n"
         "\n"
         "  reno-report outputs/quickstart                    writes outputs/quickstart/report.html\n"
         "  reno-report outputs/quickstart -o /tmp/page.html  another file\n"
         "  reno-report outputs/geneval --pictures 500        a large page to give away, with all pictures "
         "in it\n"
         "\n"
         "The page carries the pictures of the first images up to the given size; the others it reads from "
         "DIR,\n"
         "by paths relative to the page, so it has to stay where it is for them.\n"
         "\n"
      << visible_options()
      << "\n"
         "Exit status: 0 done, 2 bad usage or no run in DIR, 3 a file of the run is damaged, 4 the page "
         "cannot\n"
         "be written.\n";
  return text.str();
}

std::int64_t at_least_zero(const po::variables_map& values, const char* name) {
  const auto value = values[name].as<std::int64_t>();
  if (value < 0) throw ConfigurationError(fmt::format("--{} {}: cannot be negative", name, value));
  return value;
}

po::variables_map parse(int argc, char** argv) {
  po::options_description all;
  all.add(visible_options()).add_options()("directory", po::value<std::vector<std::string>>());
  po::positional_options_description positional;
  positional.add("directory", -1);
  po::variables_map values;
  try {
    po::store(po::command_line_parser(argc, argv)
                  .options(all)
                  .positional(positional)
                  .style(po::command_line_style::unix_style & ~po::command_line_style::allow_guessing)
                  .run(),
              values);
  } catch (const po::error& error) {
    throw ConfigurationError(fmt::format("{}; reno-report --help lists all options", error.what()));
  }
  return values;
}

void perform(int argc, char** argv) {
  const auto values = parse(argc, argv);
  if (values.count("help") != 0) {
    fmt::print("{}", help_text());
    return;
  }
  if (values.count("version") != 0) {
    fmt::print("reno-report {}\n", version);
    return;
  }
  if (values.count("directory") == 0)
    throw ConfigurationError("no directory given: reno-report DIR, or reno-report --help");
  const auto directories = values["directory"].as<std::vector<std::string>>();
  if (directories.size() > 1)
    throw ConfigurationError(fmt::format("one directory at a time: '{}' is a second one", directories[1]));
  const std::filesystem::path directory = directories[0];
  const std::filesystem::path file = values.count("output") != 0
                                         ? std::filesystem::path(values["output"].as<std::string>())
                                         : directory / "report.html";
  report::Limits limits;
  limits.picture_bytes = static_cast<std::uint64_t>(at_least_zero(values, "pictures")) << 20;
  limits.images = at_least_zero(values, "images");
  limits.curves = at_least_zero(values, "curves");
  report::write_report(directory, file, report_page(), limits);
  fmt::print("{}\n", file.string());
}

}  // namespace

int main(int argc, char** argv) {
  return reno::run_program("reno-report", [&] { perform(argc, argv); });
}
