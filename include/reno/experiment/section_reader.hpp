// Fills the sections of an `Experiment` from the tables of a TOML file.
#pragma once

#include <algorithm>
#include <iterator>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "reno/experiment/bind.hpp"
#include "reno/experiment/experiment.hpp"
#include "reno/experiment/toml_text.hpp"

namespace reno {

namespace detail {

/// The visitor that `Experiment::describe` takes: reads each section from the table of its name.
class SectionReader {
 public:
  SectionReader(const toml::table& root, const Registry& registry, Problems& problems)
      : root_(root), registry_(registry), problems_(problems) {}

  /// A section of plain options.
  template <class Section>
  void operator()(const std::string& name, Section& section, const std::string& /*help*/) {
    auto options = describe(section);
    names_.push_back(name);
    for (const Option& option : options) keys_.emplace_back(option.key, name);
    if (const toml::table* table = find(name)) OptionBinder(name, problems_).bind(*table, options);
  }

  /// A section that may be left out; it may hold a table `grid` of any keys.
  template <class Section>
  void operator()(const std::string& name, std::optional<Section>& section, const std::string& help) {
    if (!root_.contains(name)) return names_.push_back(name);
    section.emplace();
    if constexpr (requires { section->grid; }) {
      if (const toml::table* table = find(name)) {
        toml::table plain = *table;
        plain.erase("grid");
        auto options = describe(*section);
        OptionBinder(name, problems_).bind(plain, options);
        if (const toml::node* grid = table->get("grid")) read_grid(name + ".grid", "", *grid, section->grid);
      }
      names_.push_back(name);
    } else {
      (*this)(name, *section, help);
    }
  }

  /// A section that names a plugin and holds its options. Without the section, the plugin that `component`
  /// already names.
  template <class Handle>
  void operator()(const std::string& name, Component& component, const std::string& /*help*/,
                  Catalogue<Handle> Registry::*catalogue) {
    names_.push_back(name);
    static const toml::table absent;
    const toml::table* table = root_.contains(name) ? find(name) : &absent;
    if (table != nullptr) read(name, *table, component, registry_.*catalogue);
  }

  /// An array of such sections.
  template <class Handle>
  void operator()(const std::string& name, std::vector<RewardTerm>& terms, const std::string& /*help*/,
                  Catalogue<Handle> Registry::*catalogue) {
    names_.push_back(name);
    const toml::node* node = root_.get(name);
    if (node == nullptr) return;
    if (!node->is_array() || !node->as_array()->is_homogeneous(toml::node_type::table)) {
      const bool empty = node->is_array() && node->as_array()->empty();
      if (!empty) {
        problems_.add(node->source(), fmt::format("{} is {}, expected tables: write [[{}]] above each", name,
                                                  node_kind(*node), name));
      }
      return;
    }
    for (const toml::node& element : *node->as_array()) {
      RewardTerm term;
      if (read(name, *element.as_table(), term, registry_.*catalogue)) {
        terms.push_back(std::move(term));
        reward_tables_.push_back(element.as_table());
      }
    }
  }

  /// Sections and keys of the root table that no section has claimed.
  void check_names() {
    for (const auto& [key, node] : root_) {
      if (std::ranges::find(names_, key.str()) == names_.end())
        problems_.add(key.source(), unknown(key, node));
    }
  }

  /// The tables of `Experiment::rewards`, one per term.
  const std::vector<const toml::table*>& reward_tables() const { return reward_tables_; }

 private:
  /// Keys of keys, as in `optimizer.lr = [1.0]`, are one key with a dot.
  void read_grid(const std::string& section, const std::string& prefix, const toml::node& node,
                 std::vector<std::pair<std::string, std::vector<std::string>>>& grid) {
    if (!node.is_table()) {
      return problems_.add(node.source(),
                           fmt::format("{} is {}, expected an array of values", section, node_kind(node)));
    }
    for (const auto& [name, value] : *node.as_table()) {
      const std::string key = prefix + std::string(name.str());
      const toml::array* values = value.as_array();
      if (value.is_table()) {
        read_grid(fmt::format("{}.{}", section, name.str()), key + ".", value, grid);
      } else if (values == nullptr || values->empty()) {
        problems_.add(value.source(), fmt::format("{}.{} is {}, expected an array of values", section,
                                                  name.str(), values ? "empty" : node_kind(value)));
      } else {
        auto& texts = grid.emplace_back(key, std::vector<std::string>{}).second;
        for (const toml::node& item : *values) texts.push_back(value_text(item));
      }
    }
  }

  static std::string value_text(const toml::node& node) {
    if (node.is_floating_point()) return toml_text(*node.value<double>());
    if (node.is_string()) return toml_text(*node.value<std::string>());
    std::ostringstream stream;
    node.visit([&](const auto& value) { stream << value; });
    return stream.str();
  }

  const toml::table* find(const std::string& name) {
    const toml::node* node = root_.get(name);
    if (node != nullptr && !node->is_table()) {
      problems_.add(node->source(),
                    fmt::format("{} is {}, expected the section [{}]", name, node_kind(*node), name));
    }
    return node == nullptr ? nullptr : node->as_table();
  }

  static void take_defaults(Component&, double) {}
  static void take_defaults(RewardTerm& term, double weight) {
    term.weight = weight;
    term.name = term.plugin;
  }

  /// Whether the plugin is known, so that the table could be read.
  template <class AnyComponent, class Handle>
  bool read(const std::string& name, const toml::table& table, AnyComponent& component,
            const Catalogue<Handle>& catalogue) {
    const toml::node* plugin = table.get("plugin");
    if (plugin != nullptr && plugin->is_string()) {
      component.plugin = *plugin->value<std::string>();
    } else if (plugin != nullptr || component.plugin.empty()) {
      const std::string got = plugin == nullptr ? "is missing" : fmt::format("is {}", node_kind(*plugin));
      problems_.add(plugin == nullptr ? table.source() : plugin->source(),
                    fmt::format("{}.plugin {}, expected the name of a {}; have: {}", name, got,
                                catalogue.kind(), catalogue.listing()));
      return false;
    }
    const auto* entry = catalogue.find(component.plugin);
    if (entry == nullptr) {
      const std::string unknown = catalogue.unknown(component.plugin);
      plugin == nullptr ? problems_.add(unknown) : problems_.add(plugin->source(), unknown);
      return false;
    }
    take_defaults(component, entry->default_weight);
    component.options = entry->options();
    auto options = describe(component);
    std::ranges::copy(component.options.fields(), std::back_inserter(options));
    OptionBinder(name, problems_).bind(table, options);
    return true;
  }

  std::string unknown(const toml::key& key, const toml::node& node) const {
    if (node.is_table() || node.is_array_of_tables()) {
      const std::string meant = did_you_mean(key.str(), names_);
      return fmt::format("unknown section [{}]{}", key.str(),
                         meant.empty() ? fmt::format("; have: {}", fmt::join(names_, ", "))
                                       : fmt::format(", did you mean [{}]?", meant));
    }
    const auto known = std::ranges::find(keys_, key.str(), &std::pair<std::string, std::string>::first);
    return fmt::format("unknown key '{}' outside of any section{}", key.str(),
                       known == keys_.end() ? "" : fmt::format("; it belongs to [{}]", known->second));
  }

  const toml::table& root_;
  const Registry& registry_;
  Problems& problems_;
  std::vector<std::string> names_;
  std::vector<std::pair<std::string, std::string>> keys_;  ///< of plain sections, with the section
  std::vector<const toml::table*> reward_tables_;          ///< one per term that was read
};

}  // namespace detail

}  // namespace reno
