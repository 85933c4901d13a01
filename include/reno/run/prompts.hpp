// The prompts of a run, one at a time: a list may be longer than memory. Each task reads its benchmark's own
// file, as published: T2I-CompBench (Huang et al., NeurIPS 2023) examples/dataset/{category}.txt, GenEval
// (Ghosh et al., NeurIPS 2023) prompts/evaluation_metadata.jsonl, PartiPrompts (Yu et al., TMLR 2022) as TSV
// or JSON.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <boost/algorithm/string/trim.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "reno/error.hpp"
#include "reno/experiment/experiment.hpp"
#include "reno/io/json_file.hpp"
#include "reno/run/prompt_file.hpp"

namespace reno {

struct PromptItem {
  std::int64_t index = 0;  ///< in the list, from 0
  std::string text;
  std::vector<std::pair<std::string, std::string>> labels;  ///< such as category: Animals
  std::string metadata;                                     ///< GenEval: the object as the file has it
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
    if (name.is_absolute()) break;
  }
  throw ConfigurationError(
      fmt::format("{} = \"{}\" is not a file; looked for {}", key, name.string(), tried));
}

/// Task `single`: the prompt itself. The others read run.prompts; blank lines are skipped, CRLF and a
/// byte-order mark tolerated. Throws ConfigurationError with file and line for what is not the task's format.
class PromptReader {
 public:
  explicit PromptReader(const Experiment& experiment) : task_(experiment.run.task) {
    if (task_ == Task::single) {
      single_ = experiment.run.prompt;
      return;
    }
    if (!experiment.run.prompts)
      throw ConfigurationError("this task needs run.prompts, the file of its prompts");
    file_ = std::make_unique<PromptFile>(
        find_input(*experiment.run.prompts, experiment.search_paths(), "run.prompts"));
    if (task_ == Task::parti_prompts && !file_->begins_with_json()) read_header();
  }

  std::filesystem::path file() const { return file_ ? file_->path() : std::filesystem::path(); }

  std::optional<PromptItem> next() {
    auto item = read();
    if (item) item->index = index_++;
    return item;
  }

 private:
  std::optional<PromptItem> read() {
    switch (task_) {
      case Task::single:
        return single_ ? std::optional(prompt(*std::exchange(single_, std::nullopt))) : std::nullopt;
      case Task::geneval:
        return read_object("prompt", {{"tag", "tag"}});
      case Task::parti_prompts:
        return columns_.empty()
                   ? read_object("Prompt", {{"category", "Category"}, {"challenge", "Challenge"}})
                   : read_row();
      default:
        return read_line();
    }
  }

  static PromptItem prompt(std::string text) {
    PromptItem item;
    item.text = std::move(text);
    return item;
  }

  std::optional<std::string> filled_line() {
    auto line = file_->line();
    while (line && line->find_first_not_of(" \t") == std::string::npos) line = file_->line();
    return line;
  }

  std::optional<PromptItem> read_line() {
    auto line = filled_line();
    if (!line) return std::nullopt;
    // The evaluators of T2I-CompBench take a prompt from its file's name, where spaces around it would count.
    return prompt(task_ == Task::t2i_compbench
                      ? boost::algorithm::trim_copy(line->substr(0, line->find('\t')))
                      : *line);
  }

  /// keys: of the labels, as they are named here and in the file.
  std::optional<PromptItem> read_object(const std::string& key,
                                        const std::vector<std::pair<std::string, std::string>>& label_keys) {
    auto text = file_->object();
    if (!text) return std::nullopt;
    nlohmann::json object;
    try {
      object = parse_json(*text, file_->path().string());
    } catch (const LoadError&) {
      file_->fail("is not valid JSON");
    }
    const auto found = object.find(key);
    if (found == object.end() || !found->is_string())
      file_->fail(fmt::format("expected an object with a string \"{}\"", key));
    PromptItem item = prompt(found->get<std::string>());
    for (const auto& [label, name] : label_keys) {
      const auto value = object.find(name);
      if (value != object.end() && value->is_string())
        item.labels.emplace_back(label, value->get<std::string>());
    }
    item.metadata = std::move(*text);
    return item;
  }

  void read_header() {
    columns_ = split_tab_separated(filled_line().value_or(""));
    if (std::find(columns_.begin(), columns_.end(), "Prompt") == columns_.end())
      file_->fail("expected a header with a column Prompt, separated by tabs from Category, Challenge, ...");
  }

  std::optional<PromptItem> read_row() {
    const auto line = filled_line();
    if (!line) return std::nullopt;
    const auto cells = split_tab_separated(*line);
    if (cells.size() > columns_.size())
      file_->fail(fmt::format("has {} cells, but the header has {} columns", cells.size(), columns_.size()));
    PromptItem item;
    for (std::size_t i = 0; i < cells.size(); ++i) {
      if (columns_[i] == "Prompt") item.text = cells[i];
      if (columns_[i] == "Category") item.labels.emplace_back("category", cells[i]);
      if (columns_[i] == "Challenge") item.labels.emplace_back("challenge", cells[i]);
    }
    if (item.text.empty()) file_->fail("the cell of the column Prompt is empty");
    return item;
  }

  Task task_;
  std::int64_t index_ = 0;
  std::optional<std::string> single_;
  std::unique_ptr<PromptFile> file_;
  std::vector<std::string> columns_;  ///< of a table
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
