// What the page of a sweep shows, as the JSON object that its script reads.
#pragma once

#include "reno/report/run_page.hpp"
#include "reno/report/sweep_record.hpp"

namespace reno::report {

namespace detail {

inline Json cell_json(const SweepRecord& sweep, const SweepCell& cell, const Pictures& pictures) {
  Json object = {{"name", cell.name}, {"status", cell.status}, {"images", cell.images}};
  const auto page = cell.folder / "report.html";
  if (std::filesystem::exists(sweep.directory / page)) object["page"] = pictures.url(page);
  Json& values = object["values"] = Json::array();
  for (const auto& name : sweep.values) {
    const auto found = cell.values.find(name);
    if (found == cell.values.end()) {
      values.push_back(nullptr);
      continue;
    }
    const SweepValue& value = found->second;
    Json item = {{"best", number(value.best)}};
    if (std::isfinite(value.low)) item["interval"] = {number(value.low), number(value.high)};
    if (std::isfinite(value.difference)) item["difference"] = number(value.difference);
    if (std::isfinite(value.difference_low))
      item["differenceInterval"] = {number(value.difference_low), number(value.difference_high)};
    const auto weight = cell.weights.find(name);
    if (weight != cell.weights.end()) item["weight"] = number(weight->second);
    values.push_back(std::move(item));
  }
  return object;
}

inline Json contrasts_json(const SweepRecord& sweep, Pictures& pictures) {
  Json object = Json::object();
  for (const auto& reward : sweep.values) {
    const auto contrasts = sweep.contrasts.find(reward);
    if (contrasts == sweep.contrasts.end()) continue;
    for (const auto& contrast : contrasts->second) {
      std::vector<std::filesystem::path> files;
      for (const auto& entry : contrast.entries) files.push_back(entry.image);
      const auto shown = pictures.add(files);
      Json entries = Json::array();
      for (std::size_t i = 0; i < shown.size(); ++i) {
        entries.push_back({{"cell", contrast.entries[i].cell},
                           {"value", number(contrast.entries[i].value)},
                           {"picture", shown[i]}});
      }
      object[reward].push_back(
          {{"text", contrast.text}, {"seed", contrast.seed}, {"entries", std::move(entries)}});
    }
  }
  return object;
}

}  // namespace detail

/// page_folder: where the page will be.
inline nlohmann::ordered_json sweep_page(const SweepRecord& sweep, const std::filesystem::path& page_folder,
                                         const Limits& limits) {
  Pictures pictures(sweep.directory, page_folder, limits.picture_bytes);
  nlohmann::ordered_json page;
  page["kind"] = "sweep";
  page["name"] = folder_name(sweep.directory);
  auto& values = page["values"] = nlohmann::ordered_json::array();
  for (const auto& name : sweep.values)
    values.push_back({{"name", name == "total" ? "total loss" : name}, {"higher", name != "total"}});
  auto& cells = page["cells"] = nlohmann::ordered_json::array();
  for (const auto& cell : sweep.cells) cells.push_back(detail::cell_json(sweep, cell, pictures));
  page["contrasts"] = detail::contrasts_json(sweep, pictures);
  page["settings"] = sweep.settings;
  page["experiment"] = sweep.experiment;
  page["carried"] = pictures.carried();
  page["linked"] = pictures.linked();
  return page;
}

}  // namespace reno::report
