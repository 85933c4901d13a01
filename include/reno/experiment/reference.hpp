// What the program tells about itself, from the descriptions of sections and components alone: the list of
// components (`--list`), the options of one (`--describe`), and the reference of the experiment file
// (`--reference`, docs/experiment-reference.md).
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "reno/experiment/bind.hpp"
#include "reno/experiment/experiment.hpp"
#include "reno/plugin_loader.hpp"

namespace reno {

/// One option, ready to print.
struct OptionRow {
  std::string key, type, value, help;
};

/// A section of the experiment file, or a component that can be named in one.
struct ReferencePage {
  std::string kind;  ///< "section", "generator", "reward", ...
  std::string name;
  std::string summary;
  std::string origin;  ///< of a component
  std::vector<OptionRow> rows;
  bool repeated = false;  ///< an array of tables
};

namespace detail {

inline std::string type_text(const Option& option) {
  std::string text;
  switch (option.type) {
    case OptionType::boolean:
      text = "boolean";
      break;
    case OptionType::integer:
      text = "integer";
      break;
    case OptionType::number:
      text = "number";
      break;
    case OptionType::string:
      text = "string";
      break;
    case OptionType::integers:
      text = "integers";
      break;
    case OptionType::numbers:
      text = "numbers";
      break;
    case OptionType::strings:
      text = "strings";
      break;
    case OptionType::path:
      text = "path";
      break;
  }
  if (!option.choices.empty()) text = fmt::format("{}", fmt::join(option.choices, " | "));
  if (option.bounds) text += " in " + interval_text(*option.bounds);
  return text;
}

/// Stands for a default that the file must give, or that depends on the component.
inline const std::string no_default = "-";

inline std::vector<OptionRow> option_rows(const std::vector<Option>& options) {
  std::vector<OptionRow> rows;
  for (const Option& option : options) {
    rows.push_back({option.key, type_text(option), toml_text(option.get()), option.help});
  }
  return rows;
}

/// The visitor that `Experiment::describe` takes: a page for each section, followed by those of its
/// components.
class PageCollector {
 public:
  explicit PageCollector(const Registry& registry) : registry_(registry) {}

  template <class Section>
  void operator()(const std::string& name, Section& section, const std::string& help) {
    pages_.push_back({"section", name, help, "", option_rows(describe(section))});
  }

  template <class Section>
  void operator()(const std::string& name, std::optional<Section>&, const std::string& help) {
    Section section;
    (*this)(name, section, help);
  }

  template <class Handle>
  void operator()(const std::string& name, Component& component, const std::string& help,
                  Catalogue<Handle> Registry::*catalogue) {
    add(name, component, help, registry_.*catalogue);
  }

  template <class Handle>
  void operator()(const std::string& name, std::vector<RewardTerm>&, const std::string& help,
                  Catalogue<Handle> Registry::*catalogue) {
    RewardTerm term;
    const std::size_t section = pages_.size();
    add(name, term, help, registry_.*catalogue);
    pages_[section].repeated = true;
  }

  std::vector<ReferencePage> take() && { return std::move(pages_); }

 private:
  static std::string weight_text(const Component&, double) { return ""; }
  static std::string weight_text(const RewardTerm&, double weight) {
    return fmt::format(" (default weight {})", weight);
  }

  template <class AnyComponent, class Handle>
  void add(const std::string& name, AnyComponent& component, const std::string& help,
           const Catalogue<Handle>& catalogue) {
    auto rows = option_rows(describe(component));
    if (component.plugin.empty()) {
      for (OptionRow& row : rows) row.value = no_default;
    }
    pages_.push_back({"section", name, help, "", std::move(rows)});
    for (const auto& [plugin, entry] : catalogue) {
      AnyOptions options = entry.options();
      pages_.push_back({catalogue.kind(), plugin,
                        entry.summary + weight_text(component, entry.default_weight), entry.origin,
                        option_rows(options.fields())});
    }
  }

  const Registry& registry_;
  std::vector<ReferencePage> pages_;
};

/// Columns as wide as they must be, help last.
inline std::string text_table(std::vector<OptionRow> rows) {
  if (rows.empty()) return "  no options\n";
  rows.insert(rows.begin(), {"key", "type", "default", "meaning"});
  const auto width = [&](std::string OptionRow::*column) {
    std::size_t widest = 0;
    for (const auto& row : rows) widest = std::max(widest, (row.*column).size());
    return widest;
  };
  const auto [key, type, value] =
      std::array{width(&OptionRow::key), width(&OptionRow::type), width(&OptionRow::value)};
  std::string text;
  for (const auto& row : rows) {
    text +=
        fmt::format("  {:{}}  {:{}}  {:{}}  {}\n", row.key, key, row.type, type, row.value, value, row.help);
  }
  return text;
}

inline std::string markdown_table(const std::vector<OptionRow>& rows) {
  if (rows.empty()) return "No options.\n";
  const auto cell = [](std::string text) {
    for (std::size_t i = text.find('|'); i != std::string::npos; i = text.find('|', i + 2))
      text.insert(i, "\\");
    return text;
  };
  std::string text = "| key | type | default | meaning |\n| --- | --- | --- | --- |\n";
  for (const auto& row : rows) {
    const std::string value = row.value == no_default ? row.value : "`" + row.value + "`";
    text += fmt::format("| `{}` | {} | {} | {} |\n", row.key, cell(row.type), cell(value), cell(row.help));
  }
  return text;
}

}  // namespace detail

/// All sections in the order of the file, each followed by the components that it may name.
inline std::vector<ReferencePage> reference_pages(const Registry& registry) {
  Experiment experiment;
  detail::PageCollector collector(registry);
  experiment.describe(collector);
  return std::move(collector).take();
}

/// Every component with its summary and origin, by kind, then the plugins that were refused and why.
inline std::string list_text(const Registry& registry, const std::vector<PluginStatus>& plugins) {
  std::string text;
  Registry::for_each_kind(registry, [&](const auto& catalogue) {
    text += fmt::format("{}{}s:\n", text.empty() ? "" : "\n", catalogue.kind());
    std::size_t width = 0;
    for (const std::string& name : catalogue.names()) width = std::max(width, name.size());
    for (const auto& [name, entry] : catalogue) {
      text += fmt::format("  {:{}}  {} ({})\n", name, width, entry.summary, entry.origin);
    }
    if (catalogue.names().empty()) text += "  none\n";
  });
  std::string refused;
  for (const PluginStatus& plugin : plugins) {
    if (!plugin.refusal.empty()) refused += fmt::format("  {}\n", plugin.refusal);
  }
  return refused.empty() ? text : text + "\nrefused plugins:\n" + refused;
}

/// The options of what is called `name`: components of any kind, or a section of the experiment file. Throws
/// ConfigurationError when there is nothing of that name.
inline std::string describe_text(const Registry& registry, const std::string& name) {
  std::string text;
  std::vector<std::string> names;
  for (const auto& page : reference_pages(registry)) {
    names.push_back(page.name);
    if (page.name != name) continue;
    text += fmt::format("{}{} {}: {}\n", text.empty() ? "" : "\n", page.kind, page.name, page.summary);
    if (!page.origin.empty()) text += fmt::format("from {}\n", page.origin);
    text += "\n" + detail::text_table(page.rows);
  }
  if (!text.empty()) return text;
  const std::string meant = did_you_mean(name, names);
  throw ConfigurationError(fmt::format("there is no component or section '{}'{}; have: {}", name,
                                       meant.empty() ? "" : fmt::format(", did you mean '{}'?", meant),
                                       fmt::join(names, ", ")));
}

/// The reference of the experiment file in Markdown; says nothing of the machine.
inline std::string reference_text(const Registry& registry) {
  std::string text =
      "# The experiment file\n"
      "\n"
      "<!-- Printed by `reno-run --reference > docs/experiment-reference.md`; do not edit. -->\n"
      "\n"
      "A TOML file of the sections below. What it leaves out has the default; a key that is not listed here "
      "is "
      "an error. Any key can be changed on the command line: `--set run.iterations=10`, "
      "`--set generator.weights=PATH`; a reward is named by its name or its index from 0: "
      "`--set reward.hpsv2.weight=2`, `--set reward.0.weight=2`. A section that names a plugin holds that "
      "plugin's keys, too.\n";
  for (const auto& page : reference_pages(registry)) {
    const std::string title = page.kind != "section" ? fmt::format("### {} `{}`", page.kind, page.name)
                              : page.repeated        ? fmt::format("## `[[{}]]`", page.name)
                                                     : fmt::format("## `[{}]`", page.name);
    text += fmt::format("\n{}\n\n{}\n\n{}", title, page.summary, detail::markdown_table(page.rows));
  }
  return text;
}

}  // namespace reno
