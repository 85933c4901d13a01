// The prompts of a run, one at a time: a list may be longer than memory.
#pragma once

#include <fmt/format.h>

#include <fstream>
#include <optional>
#include <string>
#include <utility>

#include "reno/error.hpp"
#include "reno/experiment/experiment.hpp"

namespace reno {

struct PromptItem {
  std::int64_t index = 0;  ///< in the list, from 0
  std::string text;
};

/// Finds an input file as the experiment names it. Throws ConfigurationError that lists where it was looked
/// for.
inline std::filesystem::path find_input(const std::filesystem::path& name,
                                        const std::vector<std::filesystem::path>& search_paths,
                                        const std::string& key) {
  std::string tried;
  for (const auto& folder : search_paths) {
    auto candidate = folder / name;
    if (std::filesystem::is_regular_file(candidate)) return candidate;
    tried += fmt::format("{}{}", tried.empty() ? "" : ", ", candidate.string());
  }
  throw ConfigurationError(
      fmt::format("{} = \"{}\" is not a file; looked for {}", key, name.string(), tried));
}

/// Task `single`: the prompt itself. Task `example-prompts`: the file's lines; blank lines are skipped, CRLF
/// and a byte-order mark tolerated.
class PromptReader {
 public:
  explicit PromptReader(const Experiment& experiment) {
    if (experiment.run.task == Task::single) {
      single_ = experiment.run.prompt;
      return;
    }
    if (!experiment.run.prompts)
      throw ConfigurationError("task example-prompts needs run.prompts, a file with one prompt per line");
    file_ = find_input(*experiment.run.prompts, experiment.search_paths(), "run.prompts");
    lines_.open(file_);
    if (!lines_) throw ConfigurationError(fmt::format("{}: cannot be read", file_.string()));
  }

  const std::filesystem::path& file() const { return file_; }

  std::optional<PromptItem> next() {
    if (single_) return PromptItem{index_++, *std::exchange(single_, std::nullopt)};
    std::string line;
    while (std::getline(lines_, line)) {
      if (first_line_ && line.starts_with("\xEF\xBB\xBF")) line.erase(0, 3);
      first_line_ = false;
      if (line.ends_with('\r')) line.pop_back();
      if (line.find_first_not_of(" \t") != std::string::npos) return PromptItem{index_++, line};
    }
    return std::nullopt;
  }

 private:
  std::int64_t index_ = 0;
  std::optional<std::string> single_;
  std::filesystem::path file_;
  std::ifstream lines_;
  bool first_line_ = true;
};

/// How many prompts the run has; reads the list once. Throws ConfigurationError when there is none.
inline std::int64_t count_prompts(const Experiment& experiment) {
  PromptReader reader(experiment);
  std::int64_t count = 0;
  while (reader.next()) ++count;
  if (count == 0)
    throw ConfigurationError(fmt::format("{}: there is no prompt in it", reader.file().string()));
  return count;
}

}  // namespace reno
