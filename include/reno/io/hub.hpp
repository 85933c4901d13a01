// From what a user writes as `weights` to files on this machine: a path of his own, or the id of a model on
// the Hugging Face hub, looked up in the cache that its tools fill (models--org--name/refs/<revision> names
// the commit, snapshots/<commit> has the files). Nothing is downloaded here.
#pragma once

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "reno/error.hpp"
#include "reno/io/json_file.hpp"
#include "reno/io/mapped_file.hpp"

namespace reno {

/// `org/name[/file in the repository][@revision]`; `name` alone for the few models without an organisation.
struct HubId {
  std::string repository;
  std::filesystem::path file;  ///< empty: the whole snapshot
  std::string revision = "main";
};

namespace detail::hub {

/// One name of an id. It becomes part of a path, so that "..", separators and hidden names are no names.
inline bool is_hub_name(std::string_view name) {
  const auto allowed = [](unsigned char letter) {
    return std::isalnum(letter) != 0 || letter == '_' || letter == '-' || letter == '.';
  };
  return !name.empty() && name.size() <= 96 && name.front() != '.' && name.front() != '-' &&
         std::all_of(name.begin(), name.end(), allowed) && name.find("..") == std::string_view::npos;
}

inline std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts(1);
  for (const char letter : text) {
    if (letter == separator)
      parts.emplace_back();
    else
      parts.back() += letter;
  }
  return parts;
}

inline bool is_there(const std::filesystem::path& path) {
  std::error_code none;  // what cannot be examined is not there
  return std::filesystem::exists(path, none);
}

inline std::filesystem::path environment_path(const char* variable) {
  const char* value = std::getenv(variable);
  return value == nullptr ? "" : value;
}

}  // namespace detail::hub

/// Nothing if `text` is not an id.
inline std::optional<HubId> parse_hub_id(std::string_view text) {
  HubId id;
  if (const auto at = text.find('@'); at != std::string_view::npos) {
    id.revision = text.substr(at + 1);
    text = text.substr(0, at);
  }
  const auto revision = detail::hub::split(id.revision, '/');  // refs/pr/1
  const auto names = detail::hub::split(text, '/');
  if (!std::all_of(revision.begin(), revision.end(), detail::hub::is_hub_name) ||
      !std::all_of(names.begin(), names.end(), detail::hub::is_hub_name))
    return std::nullopt;
  id.repository = names.size() == 1 ? names[0] : names[0] + "/" + names[1];
  if (id.repository.find("--") != std::string::npos) return std::nullopt;  // the cache writes '/' so
  for (std::size_t i = 2; i < names.size(); ++i) id.file /= names[i];
  return id;
}

/// The cache that the Python libraries use under the same environment: HF_HUB_CACHE, else HF_HOME/hub, else
/// ~/.cache/huggingface/hub.
inline std::filesystem::path hub_cache() {
  using detail::hub::environment_path;
  for (const char* variable : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"})
    if (const auto cache = environment_path(variable); !cache.empty()) return cache;
  if (const auto home = environment_path("HF_HOME"); !home.empty()) return home / "hub";
  if (const auto caches = environment_path("XDG_CACHE_HOME"); !caches.empty())
    return caches / "huggingface/hub";
  return environment_path("HOME") / ".cache/huggingface/hub";
}

namespace detail::hub {

/// The snapshot that the cache has for this id, or nothing; what was looked at is added to `looked_at`.
inline std::optional<std::filesystem::path> find_snapshot(const HubId& id,
                                                          std::vector<std::filesystem::path>& looked_at) {
  std::string folder = "models--" + id.repository;
  if (const auto slash = folder.find('/'); slash != std::string::npos) folder.replace(slash, 1, "--");
  const auto model = hub_cache() / folder;
  std::string commit = id.revision;
  if (const auto ref = model / "refs" / id.revision; is_there(ref)) {
    commit = MappedFile(ref).text().substr(0, 128);
    commit.erase(
        std::find_if(commit.begin(), commit.end(), [](unsigned char c) { return std::isspace(c) != 0; }),
        commit.end());
    if (!is_hub_name(commit))
      throw LoadError(ref.string() + ": holds " + in_quotes(commit) + ", expected the name of a commit");
  } else if (commit.find('/') != std::string::npos || !is_there(model / "snapshots" / commit)) {
    looked_at.push_back(ref);
    return std::nullopt;
  }
  auto path = model / "snapshots" / commit;
  if (!id.file.empty()) path /= id.file;
  if (is_there(path)) return path;
  looked_at.push_back(path);
  return std::nullopt;
}

[[noreturn]] inline void fail_unresolved(const std::string& wanted, const std::optional<HubId>& id,
                                         const std::vector<std::filesystem::path>& looked_at) {
  std::string message = "no weights found for " + in_quotes(wanted) + "; looked at ";
  for (std::size_t i = 0; i < looked_at.size(); ++i) message += (i == 0 ? "" : ", ") + looked_at[i].string();
  if (id) {
    message += "; download them with `huggingface-cli download " + id->repository;
    if (!id->file.empty()) message += " " + id->file.string();
    if (id->revision != "main") message += " --revision " + id->revision;
    message += "` or name a directory that holds them";
  }
  throw LoadError(message);
}

}  // namespace detail::hub

/// The directory or file that `id_or_path` means: an existing path (`~/` is the home directory; a relative
/// one is tried below each of `search_paths` in order, or in the working directory if there are none), else a
/// hub id in the local cache. Throws LoadError that lists every place looked at.
inline std::filesystem::path resolve_checkpoint(const std::string& id_or_path,
                                                const std::vector<std::filesystem::path>& search_paths) {
  if (id_or_path.empty())
    throw LoadError("the name of the weights is empty, expected a path or a hub id such as org/name");
  std::filesystem::path path = id_or_path;
  if (id_or_path.starts_with("~/")) path = detail::hub::environment_path("HOME") / id_or_path.substr(2);
  std::vector<std::filesystem::path> looked_at;
  if (path.is_absolute() || search_paths.empty())
    looked_at.push_back(path);
  else
    for (const auto& base : search_paths) looked_at.push_back(base / path);
  for (const auto& candidate : looked_at)
    if (detail::hub::is_there(candidate)) return candidate;

  const auto id = parse_hub_id(id_or_path);
  if (id)
    if (const auto snapshot = detail::hub::find_snapshot(*id, looked_at)) return *snapshot;
  detail::hub::fail_unresolved(id_or_path, id, looked_at);
}

}  // namespace reno
