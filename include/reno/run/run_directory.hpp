// The folder that a run writes. One prompt's files stand in the folder itself; with a list of prompts each
// has a folder of its own.
//
//     experiment.toml metrics.jsonl results.jsonl results.json report.html comparison.png
//     [00000/] prompt.txt init_image.png best_image.png best_noise.safetensors images/00000.png
//     tensorboard/[00000/] events.out.tfevents.*
#pragma once

#include <fmt/format.h>

#include <array>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

#include "reno/error.hpp"
#include "reno/run/lock.hpp"

namespace reno {

class RunDirectory {
 public:
  /// Creates and locks the folder. Throws ConfigurationError when it cannot be written, is in use, or already
  /// holds a run and `overwrite` is false; with `overwrite` the files of that run are removed.
  RunDirectory(std::filesystem::path root, bool one_prompt, bool overwrite)
      : root_(create(std::move(root))), one_prompt_(one_prompt), lock_(root_) {
    if (!std::filesystem::exists(root_ / "experiment.toml")) return;
    if (!overwrite) {
      throw ConfigurationError(
          fmt::format("{} already holds a run: choose another run.output (--set run.output=DIR), or replace "
                      "it with --overwrite",
                      root_.string()));
    }
    clear();
  }

  const std::filesystem::path& root() const { return root_; }
  std::filesystem::path file(const std::string& name) const { return root_ / name; }

  /// The folder of one prompt's files, created if need be.
  std::filesystem::path prompt_folder(std::int64_t index) const {
    return one_prompt_ ? root_ : create(root_ / fmt::format("{:05}", index));
  }

  /// Where `save_all_images` puts an iteration's image.
  std::filesystem::path iteration_image(std::int64_t prompt, std::int64_t iteration) const {
    return create(prompt_folder(prompt) / "images") / fmt::format("{:05}.png", iteration);
  }

  /// Where the event files of one prompt go. A folder beside all else, for the name of a run in TensorBoard
  /// is its path.
  std::filesystem::path tensorboard(std::int64_t prompt) const {
    return one_prompt_ ? root_ / "tensorboard" : root_ / "tensorboard" / fmt::format("{:05}", prompt);
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
  void clear() const {
    for (const char* name : {"experiment.toml", "metrics.jsonl", "results.jsonl", "results.json",
                             "report.html", "comparison.png"}) {
      std::filesystem::remove(root_ / name);
    }
    std::filesystem::remove_all(root_ / "tensorboard");
    clear_prompt(root_);
    for (const auto& item : std::filesystem::directory_iterator(root_)) {
      const std::string name = item.path().filename();
      if (!item.is_directory() || name.find_first_not_of("0123456789") != std::string::npos) continue;
      clear_prompt(item.path());
      std::error_code not_empty;
      std::filesystem::remove(item.path(), not_empty);
    }
  }

  static void clear_prompt(const std::filesystem::path& folder) {
    for (const char* name : {"prompt.txt", "init_image.png", "best_image.png", "best_noise.safetensors"}) {
      std::filesystem::remove(folder / name);
    }
    std::filesystem::remove_all(folder / "images");
  }

  std::filesystem::path root_;
  bool one_prompt_;
  DirectoryLock lock_;
};

}  // namespace reno
