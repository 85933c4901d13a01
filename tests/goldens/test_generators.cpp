// The contract of generators, over every one that is registered, in double precision on the tiny models of
// the reference data; and a short optimisation of each with all rewards.
#include <ATen/ATen.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <fstream>
#include <map>

#include "reno/experiment/toml.hpp"
#include "reno/io/invented_source.hpp"
#include "reno/loop.hpp"
#include "reno/nn/meta_kernels.hpp"
#include "reno/run/memory.hpp"
#include "reno/run/noise.hpp"
#include "support/golden.hpp"
#include "support/plugins.hpp"
#include "support/temporary_folder.hpp"

namespace {

using namespace reno;
using namespace reno::test;
namespace fs = std::filesystem;

/// How each generator is told where its tiny model is: option -> path below its folder of the reference data.
const std::map<std::string, std::map<std::string, std::string>> tiny_models = {
    {"sd-turbo", {{"weights", "model"}}},
    {"sdxl-turbo", {{"weights", "model"}, {"vae", "vae-fp16-fix"}}},
    {"hyper-sd", {{"weights", "base"}, {"unet", "Hyper-SDXL-1step-Unet.safetensors"}}},
    {"pixart", {{"weights", "base"}, {"dmd", "dmd"}}},
    {"flux-schnell", {{"weights", "model"}}},
};

const Registry& registry() { return plugin_registry(); }

/// Folders with goldens of generators and rewards: preset a's in this repository is cut down.
std::vector<fs::path> presets() {
  std::vector<fs::path> found;
  for (const char* preset : {"a", "b"})
    if (const auto folder = fs::path(RENO_SOURCE_DIR) / "../shared/goldens" / preset; fs::exists(folder))
      found.push_back(folder);
  if (found.size() < 2) WARN("skipped: generators whose reference data is not beside the checkout");
  if (found.empty()) found.push_back(fs::path(RENO_TEST_DATA) / "goldens/a");
  return found;
}

std::string generator_section(const std::string& name, const fs::path& folder) {
  std::string text = fmt::format("[generator]\nplugin = \"{}\"\n", name);
  for (const auto& [option, path] : tiny_models.at(name))
    text += fmt::format("{} = \"{}\"\n", option, (folder / path).string());
  const auto golden = read_json_object(folder / "golden.json");
  if (golden.contains("size"))  // of an image that the weights do not tell
    text += fmt::format("height = {}\nwidth = {}\n", golden["size"]["height"].get<int>(),
                        golden["size"]["width"].get<int>());
  return text;
}

std::string reward_sections(const fs::path& rewards) {
  std::string text;
  for (const auto& [plugin, weight] :
       {std::pair("hpsv2", 5.0), std::pair("imagereward", 1.0), std::pair("clip-score", 0.01),
        std::pair("pickscore", 0.05), std::pair("aesthetic", 0.1)}) {
    const auto folder = rewards / (plugin == std::string("clip-score") ? "clip" : plugin);
    text += fmt::format("[[reward]]\nplugin = \"{}\"\nweight = {}\nweights = \"{}\"\n", plugin, weight,
                        folder.string());
  }
  return text + fmt::format("clip = \"{}\"\n", (rewards / "aesthetic/ViT-L-14.pt").string());
}

Experiment parse(const std::string& text) {
  return parse_experiment("[run]\ndevice = \"cpu\"\n" + text, "generators.toml", registry());
}

AnyGenerator load(const std::string& name, const fs::path& folder, const std::string& dtype = "float64") {
  const auto experiment = parse("dtype = \"" + dtype + "\"\n" + generator_section(name, folder) +
                                "[[reward]]\nplugin = \"clip-score\"\n");  // which is not loaded
  return create_component(registry().generators, name, experiment.generator.options,
                          quiet_context(experiment));
}

/// Calls `check(name, folder)` for every registered generator and preset.
template <class Check>
void for_each_generator(const Check& check) {
  for (const auto& [name, entry] : registry().generators) {
    INFO(name);
    REQUIRE(tiny_models.contains(name));
    for (const auto& preset : presets()) {
      const auto folder = preset / "generators" / name;
      if (!fs::exists(folder / tiny_models.at(name).at("weights"))) continue;
      INFO(folder.string());
      check(name, folder);
    }
  }
}

at::Tensor noise_of(const AnyGenerator& generator, std::int64_t images, std::uint64_t seed = 1) {
  std::vector<at::Tensor> noises;
  for (std::int64_t i = 0; i < images; ++i)
    noises.push_back(NoiseSource(seed, static_cast<std::uint64_t>(i), generator.noise_shape()).draw());
  return at::cat(noises).to(at::kDouble);
}

const Prompts prompts{"a red circle", "", "two green cats and a dog"};

}  // namespace

TEST_CASE("generators: the same noise gives the same image, bit for bit", "[goldens]") {
  for_each_generator([](const std::string& name, const fs::path& folder) {
    const auto first = load(name, folder), second = load(name, folder);
    const auto noise = noise_of(first, 1);
    const auto conditioning = first.encode({prompts[0]});
    const auto image = first.generate(noise, conditioning);
    CHECK(at::equal(image, first.generate(noise, conditioning)));
    CHECK(at::equal(image, second.generate(noise, second.encode({prompts[0]}))));
    CHECK_FALSE(at::equal(image, first.generate(noise_of(first, 1, 2), conditioning)));
    CHECK_FALSE(at::equal(image, first.generate(noise, first.encode({prompts[2]}))));
  });
}

TEST_CASE("generators: images have the size of their noise, lie in [0, 1], and no weight wants a gradient",
          "[goldens]") {
  for_each_generator([](const std::string& name, const fs::path& folder) {
    const auto generator = load(name, folder);
    const auto image = generator.generate(noise_of(generator, 1), generator.encode({prompts[0]}));
    REQUIRE(image.dim() == 4);
    CHECK(image.size(0) == 1);
    CHECK(image.size(1) == 3);
    CHECK(image.min().item<double>() >= 0);
    CHECK(image.max().item<double>() <= 1);
    CHECK(image.scalar_type() == at::kDouble);
    CHECK(image.device() == at::kCPU);
    CHECK_FALSE(image.requires_grad());
    const auto half = load(name, folder, "bfloat16");
    const auto small = half.generate(noise_of(half, 1).to(at::kFloat), half.encode({prompts[0]}));
    CHECK(small.scalar_type() == (name == "hyper-sd" ? at::kHalf : at::kBFloat16));
    CHECK(small.sizes() == image.sizes());
  });
}

TEST_CASE("generators: a batch equals its images alone", "[goldens]") {
  for_each_generator([](const std::string& name, const fs::path& folder) {
    const auto generator = load(name, folder);
    const auto noise = noise_of(generator, 3).requires_grad_(true);
    const auto together = generator.generate(noise, generator.encode(prompts));
    const auto weights = at::randn_like(together);
    (together * weights).sum().backward();
    for (std::int64_t i = 0; i < 3; ++i) {
      const auto single = noise.detach().narrow(0, i, 1).clone().requires_grad_(true);
      const auto image = generator.generate(single, generator.encode({prompts[static_cast<std::size_t>(i)]}));
      (image * weights.narrow(0, i, 1)).sum().backward();
      check_absolute(name + " batch: image", together.detach().narrow(0, i, 1), image.detach(), 1e-11);
      check_relative_norm(name + " batch: gradient", noise.grad().narrow(0, i, 1), single.grad(), 1e-10);
    }
  });
}

TEST_CASE("generators: the gradient agrees with finite differences", "[goldens]") {
  for_each_generator([](const std::string& name, const fs::path& folder) {
    const auto generator = load(name, folder);
    const auto conditioning = generator.encode({prompts[0]});
    const auto noise = noise_of(generator, 1).requires_grad_(true);
    const auto image = generator.generate(noise, conditioning);
    const auto weights = at::randn_like(image);
    (image * weights).sum().backward();
    const c10::NoGradGuard no_grad;
    // Along the gradient, where the slope is largest.
    const auto direction = noise.grad() / noise.grad().norm();
    const auto value = [&](double h) {
      return (generator.generate(noise + h * direction, conditioning) * weights).sum().item<double>();
    };
    const double h = 1e-6, slope = noise.grad().norm().item<double>();
    check_deviation(name + " gradient against finite differences",
                    std::abs((value(h) - value(-h)) / (2 * h) - slope) / slope, 1e-5);
  });
}

TEST_CASE("generators: refined images have the size of the others, and no graph", "[goldens]") {
  for_each_generator([](const std::string& name, const fs::path& folder) {
    const auto generator = load(name, folder);
    if (!generator.can_refine()) return;
    const auto noise = noise_of(generator, 2).requires_grad_(true);
    const auto conditioning = generator.encode({prompts[0], prompts[2]});
    const auto refined = generator.refine(noise, conditioning, 2, 3.0);
    CHECK_FALSE(refined.requires_grad());
    CHECK(refined.sizes() == generator.generate(noise, conditioning).sizes());
    const auto alone =
        generator.refine(noise.detach().narrow(0, 1, 1), generator.encode({prompts[2]}), 2, 3.0);
    check_absolute(name + " batch: refined image", refined.narrow(0, 1, 1), alone, 1e-9);
  });
}

namespace {

/// A weights file of the published names and shapes without contents: a hole of that size.
void write_hollow(const fs::path& file, const std::string& manifest) {
  const auto names =
      fs::path(RENO_SOURCE_DIR) / "../shared/goldens/manifests" / (manifest + ".manifest.json");
  const auto shapes = nlohmann::json::parse(std::ifstream(names)).at("parameters").get<TensorShapes>();
  nlohmann::json header;
  std::int64_t offset = 0;
  for (const auto& [name, shape] : shapes) {
    const auto end = offset + 2 * c10::multiply_integers(shape);
    header[name] = {{"dtype", "F16"}, {"shape", shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  const std::string text = header.dump();
  const std::uint64_t length = text.size();
  fs::create_directories(file.parent_path());
  std::ofstream(file, std::ios::binary).write(reinterpret_cast<const char*>(&length), sizeof length) << text;
  fs::resize_file(file, sizeof length + length + static_cast<std::uint64_t>(offset));
}

/// A model directory of the published size; parts: folder -> name of the manifest; `tokenizers` has those of
/// a tiny model.
void make_hollow_model(const fs::path& root, const std::map<std::string, std::string>& parts,
                       const std::string& scheduler, const std::string& tokenizers = "sdxl-turbo/model") {
  const auto shared = fs::path(RENO_SOURCE_DIR) / "../shared/goldens";
  for (const auto& [folder, manifest] : parts) {
    const bool text = folder.starts_with("text_encoder");
    write_hollow(root / folder / (text ? "model.safetensors" : "diffusion_pytorch_model.safetensors"),
                 manifest);
    fs::copy(shared / "manifests" / (manifest + ".config.json"), root / folder / "config.json");
  }
  fs::create_directories(root / "scheduler");
  fs::copy(shared / "manifests" / (scheduler + ".scheduler_config.json"),
           root / "scheduler/scheduler_config.json");
  for (const char* tokenizer : {"tokenizer", "tokenizer_2"})
    if (const auto from = shared / "a/generators" / tokenizers / tokenizer; fs::exists(from))
      fs::copy(from, root / tokenizer, fs::copy_options::recursive);
}

}  // namespace

TEST_CASE("generators: at their published sizes, each memory mode takes less than the one before",
          "[goldens]") {
  if (!fs::exists(fs::path(RENO_SOURCE_DIR) / "../shared/goldens/manifests")) {
    WARN("skipped: the names and shapes of the published models are not beside the checkout");
    return;
  }
  const TemporaryFolder folder;
  make_hollow_model(
      folder / "sd-turbo",
      {{"unet", "sd-turbo.unet"}, {"vae", "sd-turbo.vae"}, {"text_encoder", "clip-h.text_encoder"}},
      "sd-turbo");
  const std::map<std::string, std::string> sdxl = {{"unet", "sdxl-base.unet"},
                                                   {"vae", "sdxl-base.vae"},
                                                   {"text_encoder", "clip-l.text_encoder"},
                                                   {"text_encoder_2", "clip-bigg.text_encoder_2"}};
  make_hollow_model(folder / "sdxl", sdxl, "sdxl-base");
  auto turbo = sdxl;
  turbo["unet"] = "sdxl-turbo.unet";
  turbo["vae"] = "sdxl-vae-fp16-fix";
  make_hollow_model(folder / "sdxl-turbo", turbo, "sdxl-turbo");
  make_hollow_model(folder / "pixart",
                    {{"transformer", "pixart-dmd-512.transformer"},
                     {"vae", "pixart.vae"},
                     {"text_encoder", "t5-v1_1-xxl.encoder"}},
                    "pixart-dmd-512", "pixart/base");
  make_hollow_model(folder / "flux",
                    {{"transformer", "flux-schnell.transformer"},
                     {"vae", "flux-schnell.vae"},
                     {"text_encoder", "clip-l.text_encoder"},
                     {"text_encoder_2", "t5-v1_1-xxl.encoder"}},
                    "flux-schnell", "flux-schnell/model");
  const auto path = [&](const std::string& part) { return (folder / part).string(); };
  const std::map<std::string, std::string> settings = {
      {"sd-turbo", fmt::format("weights = \"{}\"\n", path("sd-turbo"))},
      {"sdxl-turbo", fmt::format("weights = \"{}\"\nvae = \"\"\n", path("sdxl-turbo"))},
      {"hyper-sd", fmt::format("weights = \"{}\"\nunet = \"{}\"\n", path("sdxl"),
                               path("sdxl/unet/diffusion_pytorch_model.safetensors"))},
      {"pixart", fmt::format("weights = \"{0}\"\ndmd = \"{0}\"\n", path("pixart"))},
      {"flux-schnell", fmt::format("weights = \"{}\"\n", path("flux"))}};
  for (const auto& [name, options] : settings) {
    std::vector<std::int64_t> peaks;
    for (const char* memory : {"lean", "balanced", "fast"}) {
      const auto experiment =
          parse(fmt::format("dtype = \"float16\"\nmemory = \"{}\"\n[generator]\nplugin = \"{}\"\n{}", memory,
                            name, options) +
                reward_sections(fs::path(RENO_TEST_DATA) / "goldens/a/rewards"));
      register_meta_kernels();
      auto& meter = MetaMemory::install();
      Context context = quiet_context(experiment);
      context.device = at::kMeta;
      const auto before = meter.live();
      const Objective objective = load_objective(experiment, registry(), context);
      auto shape = objective.generator().noise_shape();
      const std::int64_t side = name == "hyper-sd" ? 128 : 64;
      CHECK(shape == (name == "flux-schnell" ? std::vector<std::int64_t>{1024, 64}
                                             : std::vector<std::int64_t>{4, side, side}));
      shape.insert(shape.begin(), 1);
      const auto noise =
          at::empty(shape, at::TensorOptions(at::kMeta).dtype(at::kFloat)).requires_grad_(true);
      const auto image = objective.generator().generate(noise, objective.generator().encode({"a cat"}));
      peaks.push_back(meter.live() - before);  // as the rewards find it
      image.sum().backward();
      std::printf("  %s, memory %s, float16: %.2f GiB when its image is scored\n", name.c_str(), memory,
                  static_cast<double>(peaks.back()) / (1 << 30));
    }
    // Text encoders wait on the host; blocks are computed again.
    CHECK(peaks[0] < peaks[1] - (std::int64_t{1} << 27));
    CHECK(peaks[1] < peaks[2] - (std::int64_t{1} << 30));
  }
}

TEST_CASE("generators: the experiments in configs/ have the published settings", "[goldens]") {
  for (const auto& [name, entry] : registry().generators) {
    const auto experiment =
        read_experiment(fs::path(RENO_SOURCE_DIR) / "configs" / (name + ".toml"), registry());
    INFO(name);
    CHECK(experiment.generator.plugin == name);
    CHECK(experiment.run.iterations == 50);
    CHECK(experiment.run.seed == 0);
    CHECK(experiment.optimizer.plugin == "sgd");
    for (const auto& option : experiment.optimizer.options.fields()) {
      if (option.key == "lr") CHECK(std::get<double>(option.get()) == (name == "hyper-sd" ? 10.0 : 5.0));
      if (option.key == "momentum") CHECK(std::get<double>(option.get()) == 0.9);
      if (option.key == "grad_clip") CHECK(std::get<double>(option.get()) == 0.1);
    }
    CHECK(experiment.regularization.weight == 0.01);
    std::map<std::string, double> weights;
    for (const auto& reward : experiment.rewards) weights[reward.plugin] = reward.weight;
    CHECK(weights == std::map<std::string, double>{
                         {"hpsv2", 5.0}, {"imagereward", 1.0}, {"clip-score", 0.01}, {"pickscore", 0.05}});
  }
}

TEST_CASE("generators: the loss of all five rewards falls", "[goldens]") {
  for_each_generator([](const std::string& name, const fs::path& folder) {
    const auto rewards = folder.parent_path().parent_path() / "rewards";
    const auto experiment =
        parse("iterations = 8\n" + generator_section(name, folder) + reward_sections(rewards));
    const Context context = quiet_context(experiment);
    const Objective objective = load_objective(experiment, registry(), context);
    AnyOptimizer optimizer = make_optimizer(experiment, registry(), context);
    at::Tensor noise = noise_of(objective.generator(), 1).to(at::kFloat);
    std::vector<double> totals;
    LoopOptions loop;
    loop.iterations = experiment.run.iterations;
    loop.on_iteration = [&](const Iteration& iteration) { totals.push_back(iteration.metrics[0].total); };
    std::vector<ImageResult> results;
    optimize_noise(
        objective, objective.encode({"a red circle"}), noise,
        [&](at::Tensor& current, const Evaluation& evaluation, const Evaluate& evaluate) {
          optimizer.step(current, evaluation, evaluate);
        },
        loop, results);
    REQUIRE(totals.size() == 8);
    INFO(fmt::format("{}", fmt::join(totals, " ")));
    CHECK(totals.back() < totals.front());
    CHECK(results[0].best.total < totals.front());
    CHECK(results[0].best.scores.size() == 5);
  });
}
