// An experiment as a TOML file in which every key has its value: what a run writes beside its results, and
// what `parse_experiment` reads back as the same experiment.
#pragma once

#include <fmt/format.h>

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "reno/experiment/experiment.hpp"
#include "reno/experiment/toml_text.hpp"

namespace reno {

namespace detail {

/// The visitor that `Experiment::describe` takes: appends each section.
class SectionWriter {
 public:
  template <class Section, class... Catalogue>
  void operator()(const std::string& name, Section& section, const std::string& /*help*/, Catalogue...) {
    write("[" + name + "]", section);
  }

  template <class Catalogue>
  void operator()(const std::string& name, std::vector<RewardTerm>& terms, const std::string& /*help*/,
                  Catalogue) {
    for (RewardTerm& term : terms) write("[[" + name + "]]", term);
  }

  template <class Section>
  void operator()(const std::string& name, std::optional<Section>& section, const std::string& /*help*/) {
    if (!section) return;
    write("[" + name + "]", *section);
    if constexpr (requires { section->grid; }) {
      if (section->grid.empty()) return;
      text_ += fmt::format("\n[{}.grid]\n", name);
      for (const auto& [key, values] : section->grid)
        text_ += fmt::format("{} = [{}]\n", toml_text(key), fmt::join(values, ", "));
    }
  }

  std::string take() && { return std::move(text_); }

 private:
  template <class Section>
  void write(const std::string& header, Section& section) {
    text_ += (text_.empty() ? "" : "\n") + header + "\n";
    write_options(describe(section));
    if constexpr (requires { section.options; }) write_options(section.options.fields());
  }

  void write_options(const std::vector<Option>& options) {
    for (const Option& option : options) {
      const OptionValue value = option.get();
      const bool unset = std::holds_alternative<std::monostate>(value);
      text_ += unset ? fmt::format("# {} is unset\n", option.key)
                     : fmt::format("{} = {}\n", option.key, toml_text(value));
    }
  }

  std::string text_;
};

}  // namespace detail

/// The fully resolved experiment; sections and keys in the order of their description.
inline std::string write_toml(Experiment experiment) {
  detail::SectionWriter writer;
  experiment.describe(writer);
  return std::move(writer).take();
}

}  // namespace reno
