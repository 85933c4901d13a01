// GenEval's metadata (Ghosh et al. 2023): per prompt one JSON object that says what the picture must hold,
//
//     {"tag": "position", "include": [{"class": "square", "count": 1},
//      {"class": "circle", "count": 1, "position": ["left of", 0]}], "prompt": "a photo of a circle left of
//      …"}
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>

#include "reno/error.hpp"
#include "shapes/world/description.hpp"

namespace reno::shapes {

namespace detail {
inline nlohmann::ordered_json metadata(const Thing& thing, int count) {
  nlohmann::ordered_json object = {{"class", shape_names[thing.shape]}, {"count", count}};
  if (thing.color) object["color"] = color_names[*thing.color];
  return object;
}
}  // namespace detail

/// As GenEval writes it: a relation stands with the object that has it and points to the other one.
inline nlohmann::ordered_json to_metadata(const Description& description) {
  const auto& things = description.things;
  nlohmann::ordered_json json;
  json["tag"] = name(category(description));
  if (things.size() == 2 && description.relation) {
    auto subject = detail::metadata(things[0], 1);
    subject["position"] = {relation_names[*description.relation], 0};
    json["include"] = {detail::metadata(things[1], 1), subject};
  } else {
    json["include"] = nlohmann::ordered_json::array();
    for (const auto& thing : things) json["include"].push_back(detail::metadata(thing, thing.count));
  }
  if (things.front().count > 1)
    json["exclude"] = {detail::metadata(things.front(), things.front().count + 1)};
  json["prompt"] = text(description, {.photo = true});
  return json;
}

/// The description that `include` spells out. Throws ConfigurationError, beginning with `where`, for metadata
/// that is not of this world.
inline Description from_metadata(const nlohmann::json& json, const std::string& where) {
  const auto fail = [&](const std::string& why) {
    throw ConfigurationError(fmt::format("{}: {}", where, why));
  };
  const auto require = [&](std::optional<int> index, const char* key, const nlohmann::json& value) {
    if (!index) fail(fmt::format("{} {} is not of the shapes world", key, value.dump()));
    return *index;
  };
  try {
    const auto& include = json.at("include");
    if (!include.is_array() || include.empty() || include.size() > 2)
      fail("include has to list one object or two");
    Description description;
    for (const auto& object : include) {
      Thing thing;
      const auto& shape = object.at("class");
      thing.shape = require(index_of(shape_names, shape.get<std::string>()), "class", shape);
      if (object.contains("color"))
        thing.color =
            require(index_of(color_names, object["color"].get<std::string>()), "color", object["color"]);
      thing.count = object.value("count", 1);
      if (thing.count < 1 || thing.count > (include.size() == 1 ? most_of_a_kind : 1))
        fail(fmt::format("count {} is not one of the shapes world's", thing.count));
      description.things.push_back(thing);
    }
    for (std::size_t i = 0; i < include.size(); ++i) {
      if (!include[i].contains("position")) continue;
      const auto& position = include[i]["position"];
      const auto other = position.at(1).get<std::size_t>();
      if (description.relation || include.size() != 2 || other != 1 - i)
        fail(fmt::format("position {} does not relate two objects", position.dump()));
      description.relation =
          require(index_of(relation_names, position.at(0).get<std::string>()), "position", position);
      if (i == 1) std::swap(description.things[0], description.things[1]);
    }
    return description;
  } catch (const nlohmann::json::exception& error) {
    fail(fmt::format("is not GenEval's metadata ({})", error.what()));
  }
  throw;  // not reached
}

/// The description that a prompt states. Throws ConfigurationError, beginning with `where`.
inline Description from_prompt(const std::string& prompt, const std::string& where) {
  if (const auto description = parse(prompt)) return *description;
  throw ConfigurationError(
      fmt::format("{}: the judge of the shapes world cannot read the prompt \"{}\"; it knows such as \"a red "
                  "circle left of a blue square\" and \"three green crosses\"",
                  where, prompt));
}

}  // namespace reno::shapes
