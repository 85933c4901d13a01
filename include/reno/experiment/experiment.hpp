// An experiment: what one file says, as plain data. Each section is a struct with a `describe` member
// (options.hpp), and `Experiment::describe` names the sections: the reader, the writer and the printed
// reference walk over both, so a new section is one struct and one line here.
#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "reno/context.hpp"
#include "reno/experiment/launcher_options.hpp"
#include "reno/experiment/sweep_options.hpp"
#include "reno/options.hpp"
#include "reno/registry.hpp"

namespace reno {

enum class Task {
  single,           ///< one prompt
  example_prompts,  ///< each line of a file
  t2i_compbench,    ///< one category of T2I-CompBench
  geneval,
  parti_prompts
};

enum class Mode {
  optimize,   ///< gradient steps on the noise
  no_optim,   ///< the image of the initial noise, without rewards
  best_of_n,  ///< fresh noise at each iteration, the best image is kept
};

/// `[run]`.
struct RunOptions {
  Task task = Task::single;
  std::string prompt = "A red dog and a green cat";
  std::optional<std::filesystem::path> prompts;
  std::optional<std::int64_t> samples;
  std::string benchmark_reward = "total";
  Mode mode = Mode::optimize;
  std::int64_t iterations = 50;
  std::int64_t seed = 0;
  std::int64_t batch = 1;
  std::string device = "auto";
  c10::ScalarType dtype = c10::kFloat;
  MemoryMode memory = MemoryMode::balanced;
  std::filesystem::path output;  ///< never empty once read
  bool save_all_images = false;
  bool tensorboard = false;
  bool profile = false;
  bool kernels = true;
  bool cuda_graph = false;
  double checkpoint_seconds = 30.0;

  void describe(auto& field) {
    field("task", task, "which prompts are run, and how the images are laid out",
          spelling<Task>{{{"single", Task::single},
                          {"example-prompts", Task::example_prompts},
                          {"t2i-compbench", Task::t2i_compbench},
                          {"geneval", Task::geneval},
                          {"parti-prompts", Task::parti_prompts}}});
    field("prompt", prompt, "what the image should show (task single)");
    field("prompts", prompts,
          "file of prompts, looked up beside the experiment file, then in the working directory: one prompt "
          "per line, or the benchmark's own file");
    field("samples", samples,
          "images per prompt, with the seeds seed, seed + 1, ...; unset: 4 for geneval, otherwise 1",
          bounds{1});
    field("benchmark_reward", benchmark_reward,
          "what results.json counts improved images by: the name of a reward, or total (the weighted loss)");
    field("mode", mode,
          "optimize: follow the gradient; no-optim: only the first image; best-of-n: fresh noise at each "
          "iteration",
          spelling<Mode>{
              {{"optimize", Mode::optimize}, {"no-optim", Mode::no_optim}, {"best-of-n", Mode::best_of_n}}});
    field("iterations", iterations, "evaluations per prompt", bounds{1});
    field("seed", seed, "of the initial noise", bounds{0});
    field("batch", batch, "prompts that are optimised side by side", bounds{1});
    field("device", device, "auto (the first CUDA device, else the CPU), cpu, cuda or cuda:N");
    field("dtype", dtype, "of the networks; float64 is for verification",
          spelling<c10::ScalarType>{{{"float32", c10::kFloat},
                                     {"float16", c10::kHalf},
                                     {"bfloat16", c10::kBFloat16},
                                     {"float64", c10::kDouble}}});
    field("memory", memory,
          "fast: keep all weights and activations on the device; balanced: release the encoders of prompts "
          "after their work, and recompute the denoiser's activations; lean: keep each model on the host but "
          "while it works, and no activations between its way forwards and back; slower",
          spelling<MemoryMode>{
              {{"fast", MemoryMode::fast}, {"balanced", MemoryMode::balanced}, {"lean", MemoryMode::lean}}});
    field("output", output,
          "directory of the results; empty: outputs/ and the prompt (task single) or the experiment file's "
          "name");
    field("save_all_images", save_all_images, "also write the image of each iteration");
    field("tensorboard", tensorboard,
          "also write event files for TensorBoard, in the folder tensorboard of the output directory");
    field("profile", profile,
          "wait for the device at the end of each stage: what results.json says of an iteration is then what "
          "each stage takes alone");
    field(
        "kernels", kernels,
        "use reno's own operators, where they were made for the device and its numbers; the log says which. "
        "false: LibTorch's only");
    field("cuda_graph", cuda_graph,
          "mode optimize on a GPU: record the second iteration of a batch as a CUDA graph, and replay it in "
          "those that follow. Not with run.memory = \"lean\"");
    field("checkpoint_seconds", checkpoint_seconds,
          "how often the state of unfinished images is saved for --resume; 0: after every iteration",
          bounds{0});
  }

  std::int64_t images_per_prompt() const { return samples.value_or(task == Task::geneval ? 4 : 1); }

  bool operator==(const RunOptions&) const = default;
};

/// `[generator]` and `[optimizer]`: a plugin's name, and its options in the same table.
struct Component {
  std::string plugin;
  AnyOptions options;

  void describe(auto& field) { field("plugin", plugin, "name of the plugin"); }

  bool operator==(const Component&) const = default;
};

/// One `[[reward]]`. The entry's default weight and the plugin's name stand in for what the file leaves out.
struct RewardTerm {
  std::string plugin;
  std::string name;  ///< key in the metrics, unique
  double weight = 1.0;
  AnyOptions options;

  void describe(auto& field) {
    field("plugin", plugin, "name of the plugin");
    field("name", name,
          "key in the metrics, by default the plugin's name; needed when a plugin is used twice");
    field("weight", weight, "in the objective, by default the plugin's; 0: measured, not optimised",
          bounds{0});
  }

  bool operator==(const RewardTerm&) const = default;
};

/// `[regularization]`: keeps the noise's norm where a Gaussian's would be.
struct RegularizationOptions {
  double weight = 0.01;

  void describe(auto& field) {
    field("weight", weight, "of the noise norm's negative log-likelihood", bounds{0});
  }

  bool operator==(const RegularizationOptions&) const = default;
};

/// `[noise]`.
struct NoiseOptions {
  std::optional<std::filesystem::path> init;
  std::int64_t draws = 0;
  bool as_networks = false;

  void describe(auto& field) {
    field("as_networks", as_networks,
          "round the noise to run.dtype at the start and after each step, where the published code keeps it, "
          "instead of optimising it in float32");
    field("init", init,
          "safetensors file whose tensor \"noise\" is the initial noise, instead of the seed's; looked up "
          "beside "
          "the experiment file, then in the working directory");
    field(
        "draws", draws,
        "how many of the iterations look at fresh noise, without a gradient, before the optimisation begins "
        "from the best of it; 0: it begins from the first noise",
        bounds{0});
  }

  bool operator==(const NoiseOptions&) const = default;
};

/// `[refine]`: images of several steps from the noise before and after the optimisation, without gradients.
struct RefineOptions {
  std::optional<std::filesystem::path> generator;
  std::int64_t steps = 0;
  double guidance = 0.0;

  void describe(auto& field) {
    field("generator", generator,
          "multi-step model in place of the generator's own networks: its option `base`");
    field("steps", steps,
          "sampling steps; 0: no such images. A file with this section and without this key asks for the "
          "published number: with a base model 50, of flux-schnell 4",
          bounds{0, 1000});
    field("guidance", guidance,
          "scale of classifier-free guidance, which is active above 1; left out, the published one of a base "
          "model: 7.5 for sd-turbo's, 5 for SDXL",
          bounds{0});
  }

  bool operator==(const RefineOptions&) const = default;
};

struct Experiment {
  RunOptions run;
  Component generator;
  std::vector<RewardTerm> rewards;
  Component optimizer{.plugin = "sgd", .options = {}};
  RegularizationOptions regularization;
  NoiseOptions noise;
  RefineOptions refine;
  std::optional<SweepOptions> sweep;
  std::optional<LauncherOptions> launcher;
  std::filesystem::path file;  ///< that was read; empty when it was not a file

  /// The sections, in the order in which they are written. A plain section is a struct with `describe`; a
  /// component's section says where its plugin's name is looked up.
  void describe(auto& section) {
    section("run", run, "What is run, and how.");
    section("generator", generator, "The frozen one-step model.", &Registry::generators);
    section("reward", rewards, "The objective's terms, one [[reward]] each.", &Registry::rewards);
    section("optimizer", optimizer, "How the noise is moved.", &Registry::optimizers);
    section("regularization", regularization, "Keeps the noise probable.");
    section("noise", noise, "Where the noise begins.");
    section("refine", refine, "Images of several steps from the initial and from the best noise.");
    section("sweep", sweep,
            "With this section the file describes many runs, the cells of a table: the section's objectives, "
            "each "
            "with each combination of the values in `[sweep.grid]` (keys as after `--set`, such as "
            "`\"optimizer.lr\" = [1.0, 5.0]`) and each seed.");
    section("launcher", launcher, "What `--launcher slurm` asks the cluster for.");
  }

  /// Where relative paths of weights and other inputs are looked up, in order: the experiment file's folder,
  /// the working directory.
  std::vector<std::filesystem::path> search_paths() const {
    return {file.empty() ? std::filesystem::path(".") : std::filesystem::absolute(file).parent_path(), "."};
  }

  /// Says the same, wherever it was read from.
  friend bool operator==(const Experiment& a, const Experiment& b) {
    return a.run == b.run && a.generator == b.generator && a.rewards == b.rewards &&
           a.optimizer == b.optimizer && a.regularization == b.regularization && a.noise == b.noise &&
           a.refine == b.refine && a.sweep == b.sweep && a.launcher == b.launcher;
  }
};

}  // namespace reno
