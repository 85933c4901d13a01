// The folder that a run writes; layout.hpp says where each image's files are in it.
//
//     experiment.toml metrics.jsonl results.jsonl results.json report.html comparison.png resume.safetensors
#pragma once

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "reno/error.hpp"
#include "reno/run/lock.hpp"
#include "reno/run/shard.hpp"

namespace reno {

/// What to do with the run that a directory may hold already.
enum class Existing { refuse, overwrite, resume };

class RunDirectory {
 public:
  /// Creates and locks the folder. Throws ConfigurationError when it cannot be written, is in use, holds a
  /// run and that is to be refused, or was begun by another number of shards (unless `any_number`). To
  /// overwrite removes the files of the earlier run.
  RunDirectory(std::filesystem::path root, Existing existing, const Shard& shard = {},
               bool any_number = false)
      : root_(create(std::move(root))),
        shard_(shard),
        lock_(root_, shard.whole() ? DirectoryLock::exclusive : DirectoryLock::shared) {
    const bool holds_run = std::filesystem::exists(root_ / "experiment.toml");
    if (holds_run && existing == Existing::overwrite) {
      clear(root_, false);
    } else if (holds_run && existing == Existing::refuse && shard.whole()) {
      refuse("a run");
    } else if (!any_number) {
      check_shards(holds_run);
    }
    if (shard.whole()) return;
    const auto lines = create(root_ / shard.folder());
    shard_lock_.emplace(lines);
    const bool begun =
        std::filesystem::exists(lines / "metrics.jsonl") || std::filesystem::exists(lines / "progress.json");
    if (existing == Existing::refuse && begun)
      refuse(fmt::format("shard {}/{} of a run", shard.index, shard.count));
  }

  const std::filesystem::path& root() const { return root_; }

  /// The absolute place of a file, whose folder is created if need be.
  std::filesystem::path file(const std::filesystem::path& relative) const {
    const auto path = root_ / relative;
    create(path.parent_path());
    return path;
  }

  /// The place of a file that each shard has for itself.
  std::filesystem::path own_file(const std::string& name) const { return root_ / shard_.folder() / name; }

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

  [[noreturn]] void refuse(const std::string& what) const {
    throw ConfigurationError(
        fmt::format("{} already holds {}: continue it with --resume, choose another run.output (--set "
                    "run.output=DIR), or replace it with --overwrite",
                    root_.string(), what));
  }

  /// All processes of a run must deal out its batches alike.
  void check_shards(bool holds_run) const {
    std::string begun = holds_run ? "1" : "";
    std::error_code none;
    for (const auto& item : std::filesystem::directory_iterator(root_ / ".shards", none))
      begun = item.path().filename();
    if (begun.empty() || begun == fmt::to_string(shard_.count)) return;
    throw ConfigurationError(
        fmt::format("{} was begun by {}: it cannot be continued by {}", root_.string(),
                    begun == "1" ? "one process" : begun + " shards",
                    shard_.whole() ? "one process" : fmt::format("{} shards", shard_.count)));
  }

  /// Removes what a run writes, and nothing else that a user may keep here.
  static void clear(const std::filesystem::path& folder, bool inside) {
    constexpr std::array<std::string_view, 17> files = {"init_image_refined.png",
                                                        "best_image_refined.png",
                                                        "experiment.toml",
                                                        "metrics.jsonl",
                                                        "results.jsonl",
                                                        "results.json",
                                                        "report.html",
                                                        "comparison.png",
                                                        "prompt.txt",
                                                        "metadata.jsonl",
                                                        "init_image.png",
                                                        "best_image.png",
                                                        "best_noise.safetensors",
                                                        "progress.json",
                                                        "resume.safetensors",
                                                        "sweep.csv",
                                                        "sweep.md"};
    constexpr std::array<std::string_view, 10> folders = {
        "refined_initial", "refined",     "samples", "initial", "noise",
        "images",          "tensorboard", ".shards", "cells",   "slurm"};
    constexpr std::array<std::string_view, 4> inner = {".lock", "error.txt", "log.txt", "job.sh"};
    const auto is_one_of = [](const auto& names, const std::string& name) {
      return std::find(names.begin(), names.end(), name) != names.end();
    };
    for (const auto& item : std::filesystem::directory_iterator(folder)) {
      const std::string name = item.path().filename();
      const auto extension = item.path().extension();
      const bool ours =
          inside && (extension == ".png" || extension == ".safetensors" || extension == ".log" ||
                     is_one_of(inner, name) || name.starts_with("events.out.tfevents."));
      const bool numbered = name.find_first_not_of("0123456789") == std::string::npos;
      if (item.is_symlink()) continue;
      if (!item.is_directory() && (ours || is_one_of(files, name))) std::filesystem::remove(item.path());
      if (!item.is_directory() || !(numbered || is_one_of(folders, name))) continue;
      clear(item.path(), inside || is_one_of(folders, name));
      std::error_code not_empty;
      std::filesystem::remove(item.path(), not_empty);
    }
  }

  std::filesystem::path root_;
  Shard shard_;
  DirectoryLock lock_;
  std::optional<DirectoryLock> shard_lock_;
};

}  // namespace reno
