// The pictures of a folder with what they should show. Two layouts are known: GenEval's,
//
//     {index:05}/metadata.jsonl   {index:05}/samples/{seed:05}.png
//
// and the directory of a run, whose pictures before and after the optimisation are two series.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "reno/error.hpp"
#include "shapes/judge/metadata.hpp"

namespace reno::shapes {

struct LabelledImage {
  std::string series;  ///< "samples", "before" or "after"
  std::filesystem::path file;
  Description wanted;
};

namespace detail {

/// Parses each line of a .jsonl file; `use(object, where)`.
template <class Use>
void read_lines(const std::filesystem::path& file, Use use) {
  std::ifstream stream(file);
  if (!stream) throw LoadError(fmt::format("{}: cannot be read", file.string()));
  int number = 0;
  for (std::string line; std::getline(stream, line);) {
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const auto where = fmt::format("{}:{}", file.string(), number);
    const auto object = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!object.is_object()) throw LoadError(fmt::format("{}: is not a JSON object", where));
    use(object, where);
  }
}

inline std::vector<std::filesystem::path> sorted_entries(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> entries;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) entries.push_back(entry.path());
  std::sort(entries.begin(), entries.end());
  return entries;
}

inline void add_samples(const std::filesystem::path& folder, std::vector<LabelledImage>& images) {
  std::optional<Description> wanted;
  read_lines(folder / "metadata.jsonl", [&](const nlohmann::json& object, const std::string& where) {
    if (wanted) throw LoadError(fmt::format("{}: a second line, expected one prompt per folder", where));
    wanted = object.contains("include") ? from_metadata(object, where)
                                        : from_prompt(object.value("prompt", std::string()), where);
  });
  if (!wanted || !std::filesystem::is_directory(folder / "samples"))
    throw LoadError(
        fmt::format("{}: lacks a line in metadata.jsonl or the folder samples/", folder.string()));
  for (const auto& file : sorted_entries(folder / "samples"))
    if (file.extension() == ".png") images.push_back({"samples", file, *wanted});
}

/// Where a line of results.jsonl says that a picture is; without that, where single prompts and lists have
/// it.
inline std::filesystem::path picture_file(const std::filesystem::path& root, const nlohmann::json& line,
                                          const char* key, const char* usual) {
  if (const auto files = line.find("files"); files != line.end() && files->is_object())
    if (const auto file = files->find(key); file != files->end() && file->is_string())
      return root / file->get<std::string>();
  const auto numbered = root / fmt::format("{:05}", line["prompt"].get<std::int64_t>());
  return (std::filesystem::is_directory(numbered) ? numbered : root) / usual;
}

inline void add_run(const std::filesystem::path& root, std::vector<LabelledImage>& images) {
  read_lines(root / "results.jsonl", [&](const nlohmann::json& object, const std::string& where) {
    if (!object.contains("prompt") || !object["prompt"].is_number_integer() || !object.contains("text") ||
        !object["text"].is_string())
      throw LoadError(fmt::format("{}: lacks the prompt's number or text", where));
    const auto wanted = from_prompt(object["text"], where);
    images.push_back({"before", picture_file(root, object, "initial_image", "init_image.png"), wanted});
    images.push_back({"after", picture_file(root, object, "best_image", "best_image.png"), wanted});
  });
}

}  // namespace detail

/// Throws LoadError when the folder has neither layout or a file is damaged, ConfigurationError when a prompt
/// is not of this world.
inline std::vector<LabelledImage> find_images(const std::filesystem::path& folder) {
  if (!std::filesystem::is_directory(folder))
    throw LoadError(fmt::format("{}: there is no such folder", folder.string()));
  std::vector<LabelledImage> images;
  if (std::filesystem::exists(folder / "results.jsonl")) {
    detail::add_run(folder, images);
  } else {
    for (const auto& entry : detail::sorted_entries(folder))
      if (std::filesystem::exists(entry / "metadata.jsonl")) detail::add_samples(entry, images);
  }
  if (images.empty())
    throw LoadError(fmt::format(
        "{}: has no pictures to judge: neither results.jsonl of a finished prompt, nor folders as "
        "GenEval lays them out (00000/metadata.jsonl and 00000/samples/00000.png)",
        folder.string()));
  return images;
}

}  // namespace reno::shapes
