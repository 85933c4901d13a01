// The folder that a run writes; layout.hpp says where each image's files are in it.
//
//     experiment.toml metrics.jsonl results.jsonl results.json report.html comparison.png
#pragma once

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "reno/error.hpp"
#include "reno/run/lock.hpp"

namespace reno {

class RunDirectory {
 public:
  /// Creates and locks the folder. Throws ConfigurationError when it cannot be written, is in use, or already
  /// holds a run and `overwrite` is false; with `overwrite` the files of that run are removed.
  RunDirectory(std::filesystem::path root, bool overwrite) : root_(create(std::move(root))), lock_(root_) {
    if (!std::filesystem::exists(root_ / "experiment.toml")) return;
    if (!overwrite) {
      throw ConfigurationError(
          fmt::format("{} already holds a run: choose another run.output (--set run.output=DIR), or replace "
                      "it with --overwrite",
                      root_.string()));
    }
    clear(root_, false);
  }

  const std::filesystem::path& root() const { return root_; }

  /// The absolute place of a file, whose folder is created if need be.
  std::filesystem::path file(const std::filesystem::path& relative) const {
    const auto path = root_ / relative;
    create(path.parent_path());
    return path;
  }

 private:
  static std::filesystem::path create(std::filesystem::path folder) {
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error || ::access(folder.c_str(), W_OK) != 0) {
      throw ConfigurationError(fmt::format("{}: cannot be written to: {}", folder.string(),
                                           error ? error.message() : std::generic_category().message(errno)));
    }
    return folder;
  }

  /// Removes what a run writes, and nothing else that a user may keep here.
  static void clear(const std::filesystem::path& folder, bool inside) {
    constexpr std::array<std::string_view, 11> files = {
        "experiment.toml",       "metrics.jsonl", "results.jsonl",  "results.json",   "report.html",
        "comparison.png",        "prompt.txt",    "metadata.jsonl", "init_image.png", "best_image.png",
        "best_noise.safetensors"};
    constexpr std::array<std::string_view, 5> folders = {"samples", "initial", "noise", "images",
                                                         "tensorboard"};
    const auto is_one_of = [](const auto& names, const std::string& name) {
      return std::find(names.begin(), names.end(), name) != names.end();
    };
    for (const auto& item : std::filesystem::directory_iterator(folder)) {
      const std::string name = item.path().filename();
      const auto extension = item.path().extension();
      const bool picture = inside && (extension == ".png" || extension == ".safetensors" ||
                                      name.starts_with("events.out.tfevents."));
      const bool numbered = name.find_first_not_of("0123456789") == std::string::npos;
      if (item.is_symlink()) continue;
      if (!item.is_directory() && (picture || is_one_of(files, name))) std::filesystem::remove(item.path());
      if (!item.is_directory() || !(numbered || is_one_of(folders, name))) continue;
      clear(item.path(), inside || is_one_of(folders, name));
      std::error_code not_empty;
      std::filesystem::remove(item.path(), not_empty);
    }
  }

  std::filesystem::path root_;
  DirectoryLock lock_;
};

}  // namespace reno
