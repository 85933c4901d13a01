// Where the files of one image go. The layouts of benchmarks are those that their evaluators read: GenEval's
// evaluate_images.py takes every samples/<digits>.png beside a metadata.jsonl; T2I-CompBench's take every
// file of samples/, its prompt from the name up to the first '_' and its number from the digits behind the
// last one.
#pragma once

#include <fmt/format.h>

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "reno/experiment/paths.hpp"
#include "reno/run/samples.hpp"

namespace reno {

/// Relative to the run directory.
struct SampleFiles {
  std::filesystem::path initial_image;
  std::filesystem::path best_image;
  std::filesystem::path best_noise;
  std::filesystem::path iterations;             ///< folder of `save_all_images`
  std::filesystem::path refined_initial_image;  ///< the two of `[refine]`
  std::filesystem::path refined_best_image;
  std::filesystem::path events;  ///< folder of `tensorboard`, whose path TensorBoard shows as the run's name
};

/// The prompt as T2I-CompBench's evaluators read it back from a file name: nothing is changed but what no
/// name can have ('/', control characters, bytes that are not UTF-8, more than 200 bytes).
inline std::string compbench_name(std::string_view prompt) {
  constexpr std::size_t max_bytes = 200;
  std::string name;
  for (std::size_t i = 0; i < prompt.size();) {
    const std::size_t begin = i;
    const UChar32 point = detail::next_code_point(prompt, i);
    const bool printable_ascii = point >= 0x20 && point < 0x7f && point != '/';
    const std::string_view encoded = prompt.substr(begin, i - begin);
    const std::string_view text = point == '/'      ? " "
                                  : printable_ascii ? encoded
                                                    : detail::file_name_text(point, encoded);
    if (name.size() + text.size() > max_bytes) break;
    name += text;
  }
  return name;
}

/// The folder of a prompt, for tasks that give each one a folder.
inline std::filesystem::path prompt_folder(const RunOptions& run, std::int64_t prompt) {
  switch (run.task) {
    case Task::example_prompts:
    case Task::geneval:
      return fmt::format("{:05}", prompt);
    case Task::parti_prompts:
      return fmt::to_string(prompt);
    default:
      return "";
  }
}

inline SampleFiles sample_files(const RunOptions& run, const Sample& sample) {
  const auto folder = prompt_folder(run, sample.prompt.index);
  const std::string seed = fmt::format("{:05}", sample.seed);
  auto events = std::filesystem::path("tensorboard");
  if (run.task != Task::single) events /= fmt::format("{:05}", sample.prompt.index);
  if (run.images_per_prompt() > 1) events /= seed;
  if (run.task == Task::geneval) {
    return {folder / "initial" / (seed + ".png"),
            folder / "samples" / (seed + ".png"),
            folder / "noise" / (seed + ".safetensors"),
            folder / "images" / seed,
            folder / "refined_initial" / (seed + ".png"),
            folder / "refined" / (seed + ".png"),
            events};
  }
  if (run.task == Task::t2i_compbench) {
    const std::string number = fmt::format("{:06}", sample.number);
    const auto image = fmt::format("{}_{}.png", compbench_name(sample.prompt.text), number);
    return {std::filesystem::path("initial") / image,
            std::filesystem::path("samples") / image,
            std::filesystem::path("noise") / (number + ".safetensors"),
            std::filesystem::path("images") / number,
            std::filesystem::path("refined_initial") / image,
            std::filesystem::path("refined") / image,
            events};
  }
  const auto own = run.images_per_prompt() > 1 ? folder / seed : folder;
  return {own / "init_image.png",
          own / "best_image.png",
          own / "best_noise.safetensors",
          own / "images",
          own / "init_image_refined.png",
          own / "best_image_refined.png",
          events};
}

/// The file that tells a prompt, with its text: none for a single prompt, nor where names tell it.
inline std::optional<std::pair<std::filesystem::path, std::string>> prompt_file(const RunOptions& run,
                                                                                const PromptItem& prompt) {
  const auto folder = prompt_folder(run, prompt.index);
  if (folder.empty()) return std::nullopt;
  if (run.task == Task::geneval) return std::pair(folder / "metadata.jsonl", prompt.metadata + "\n");
  return std::pair(folder / "prompt.txt", prompt.text + "\n");
}

}  // namespace reno
