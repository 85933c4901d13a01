// JSON from strangers: headers of weights files, shard indices, model configurations. On top of the JSON
// library it refuses what that library lets pass (duplicate keys, of which one would silently win) and bounds
// the nesting, so that no input can exhaust the stack.
#pragma once

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "reno/error.hpp"
#include "reno/io/mapped_file.hpp"

namespace reno {

/// `text` in double quotes, fit for a message: control characters and bytes that are not UTF-8 are escaped,
/// long text is shortened.
inline std::string in_quotes(std::string_view text) {
  constexpr std::size_t longest = 160;
  const std::string shown(text.substr(0, longest));
  std::string result = nlohmann::json(shown).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  return text.size() > longest ? result + "…" : result;
}

/// Parses strict JSON. `origin` (file name) opens every message. Throws LoadError for a syntax error, a
/// duplicate key or nesting beyond `max_depth` containers.
inline nlohmann::json parse_json(std::string_view text, const std::string& origin, int max_depth = 64) {
  using Event = nlohmann::json::parse_event_t;
  std::vector<std::set<std::string>> keys;  // of each object that is open
  const auto check = [&](int depth, Event event, nlohmann::json& parsed) {
    const bool opens = event == Event::object_start || event == Event::array_start;
    if (opens && depth >= max_depth)
      throw LoadError(origin + ": JSON is nested deeper than " + std::to_string(max_depth) + " levels");
    if (event == Event::object_start) keys.emplace_back();
    if (event == Event::object_end) keys.pop_back();
    if (event == Event::key && !keys.back().insert(parsed.get<std::string>()).second)
      throw LoadError(origin + ": key " + in_quotes(parsed.get<std::string>()) + " appears twice");
    return true;
  };
  try {
    return nlohmann::json::parse(text.begin(), text.end(), check);
  } catch (const nlohmann::json::parse_error& error) {
    const auto before = text.substr(0, error.byte > 0 ? error.byte - 1 : 0);  // the library counts from 1
    const auto line = 1 + std::count(before.begin(), before.end(), '\n');
    const auto column = before.size() - (before.rfind('\n') + 1) + 1;  // npos + 1 is 0
    throw LoadError(origin + ":" + std::to_string(line) + ":" + std::to_string(column) +
                    ": is not valid JSON: syntax error");
  } catch (const nlohmann::json::exception& error) {  // a number out of range
    throw LoadError(origin + ": is not valid JSON: " + error.what());
  }
}

/// The JSON object in a (small) file; LoadError when it is missing, larger than `max_bytes`, malformed or not
/// an object.
inline nlohmann::json read_json_object(const std::filesystem::path& path,
                                       std::size_t max_bytes = 100'000'000) {
  const MappedFile file(path);
  if (file.size() > max_bytes)
    throw LoadError(path.string() + ": has " + std::to_string(file.size()) +
                    " bytes, expected JSON of at most " + std::to_string(max_bytes));
  auto json = parse_json(file.text(), path.string());
  if (!json.is_object()) throw LoadError(path.string() + ": expected a JSON object, got " + json.type_name());
  return json;
}

}  // namespace reno
