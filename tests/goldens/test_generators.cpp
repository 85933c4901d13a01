// The contract of generators, over every one that is registered, in double precision on the tiny models of
// the reference data; and a short optimisation of each with all rewards.
#include <ATen/ATen.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdio>
#include <map>
#include <set>

#include "goldens/tiny_generators.hpp"
#include "reno/io/invented_source.hpp"
#include "reno/loop.hpp"
#include "reno/nn/meta_kernels.hpp"
#include "reno/nn/modules.hpp"
#include "reno/run/dry_run.hpp"
#include "reno/run/memory.hpp"
#include "support/hollow_models.hpp"

using namespace reno;
using namespace reno::test;
namespace fs = std::filesystem;

TEST_CASE("generators: the same noise gives the same image, bit for bit", "[goldens]") {
  for_each_generator([](const std::string& name, const fs::path& folder) {
    const auto first = load_tiny(name, folder), second = load_tiny(name, folder);
    const auto noise = noise_of(first, 1);
    const auto conditioning = first.encode({tiny_prompts[0]});
    const auto image = first.generate(noise, conditioning);
    CHECK(at::equal(image, first.generate(noise, conditioning)));
    CHECK(at::equal(image, second.generate(noise, second.encode({tiny_prompts[0]}))));
    CHECK_FALSE(at::equal(image, first.generate(noise_of(first, 1, 2), conditioning)));
    CHECK_FALSE(at::equal(image, first.generate(noise, first.encode({tiny_prompts[2]}))));
  });
}

TEST_CASE("generators: images have the size of their noise, lie in [0, 1], and no weight wants a gradient",
          "[goldens]") {
  for_each_generator([](const std::string& name, const fs::path& folder) {
    const auto generator = load_tiny(name, folder);
    const auto image = generator.generate(noise_of(generator, 1), generator.encode({tiny_prompts[0]}));
    REQUIRE(image.dim() == 4);
    CHECK(image.size(0) == 1);
    CHECK(image.size(1) == 3);
    CHECK(image.min().item<double>() >= 0);
    CHECK(image.max().item<double>() <= 1);
    CHECK(image.scalar_type() == at::kDouble);
    CHECK(image.device() == at::kCPU);
    CHECK_FALSE(image.requires_grad());
  });
}

TEST_CASE("generators: on the meta device shapes are the same, backwards and refining too", "[goldens]") {
  register_meta_kernels();
  for_each_generator([](const std::string& name, const fs::path& folder) {
    const auto real = load_tiny(name, folder, {.dtype = "float32"}),
               shadow = load_tiny(name, folder, {.dtype = "float16", .device = at::kMeta});
    const auto image =
        real.generate(noise_of(real, 2).to(at::kFloat), real.encode({tiny_prompts[0], tiny_prompts[2]}));
    CHECK(shadow.noise_shape() == real.noise_shape());
    auto shape = shadow.noise_shape();
    shape.insert(shape.begin(), 2);
    const auto noise = at::empty(shape, at::TensorOptions(at::kMeta)).requires_grad_(true);
    const auto conditioning = shadow.encode({tiny_prompts[0], tiny_prompts[2]});
    const auto made = shadow.generate(noise, conditioning);
    CHECK(made.sizes() == image.sizes());
    CHECK(made.scalar_type() == at::kHalf);
    made.sum().backward();
    CHECK(noise.grad().sizes() == noise.sizes());
    if (shadow.can_refine()) CHECK(shadow.refine(noise, conditioning, 2, 5.0).sizes() == image.sizes());
  });
}

TEST_CASE("generators: a batch equals its images alone", "[goldens]") {
  for_each_generator([](const std::string& name, const fs::path& folder) {
    const auto generator = load_tiny(name, folder);
    const auto noise = noise_of(generator, 3).requires_grad_(true);
    const auto together = generator.generate(noise, generator.encode(tiny_prompts));
    at::manual_seed(2);
    const auto weights = at::randn_like(together);
    (together * weights).sum().backward();
    for (std::int64_t i = 0; i < 3; ++i) {
      const auto single = noise.detach().narrow(0, i, 1).clone().requires_grad_(true);
      const auto image =
          generator.generate(single, generator.encode({tiny_prompts[static_cast<std::size_t>(i)]}));
      (image * weights.narrow(0, i, 1)).sum().backward();
      check_absolute(name + " batch: image", together.detach().narrow(0, i, 1), image.detach(), 1e-11);
      check_relative_norm(name + " batch: gradient", noise.grad().narrow(0, i, 1), single.grad(), 1e-10);
    }
  });
}

TEST_CASE("generators: the gradient agrees with finite differences", "[goldens]") {
  for_each_generator([](const std::string& name, const fs::path& folder) {
    const auto generator = load_tiny(name, folder);
    const auto conditioning = generator.encode({tiny_prompts[0]});
    const auto noise = noise_of(generator, 1).requires_grad_(true);
    const auto image = generator.generate(noise, conditioning);
    at::manual_seed(3);
    const auto weights = at::randn_like(image);
    (image * weights).sum().backward();
    const c10::NoGradGuard no_grad;
    const auto value = [&](const at::Tensor& at_noise) {
      return (generator.generate(at_noise, conditioning) * weights).sum().item<double>();
    };
    const double steepest = noise.grad().norm().item<double>();
    const auto error_along = [&](const at::Tensor& direction) {
      const double h = 1e-6, slope = (noise.grad() * direction).sum().item<double>();
      return std::abs((value(noise + h * direction) - value(noise - h * direction)) / (2 * h) - slope);
    };
    // Along the gradient, where the slope is largest, and where it is what a random direction sees of it.
    check_deviation(name + " gradient against finite differences",
                    error_along(noise.grad() / steepest) / steepest, 1e-5);
    for (int i = 0; i < 4; ++i) {
      const auto direction = at::randn_like(noise);
      const double seen = steepest / std::sqrt(static_cast<double>(noise.numel()));
      check_deviation(name + " gradient against finite differences, random directions",
                      error_along(direction / direction.norm()) / seen, 1e-5);
    }
  });
}

TEST_CASE("generators: the three memory modes give the same numbers", "[goldens]") {
  for_each_generator([](const std::string& name, const fs::path& folder) {
    struct Numbers {
      at::Tensor image, gradient, refined;
    };
    const auto numbers = [&](const std::string& memory) {
      const auto generator = load_tiny(name, folder, {.memory = memory});
      const auto noise = noise_of(generator, 2).requires_grad_(true);
      const Prompts two{tiny_prompts[0], tiny_prompts[2]};
      const auto image = generator.generate(noise, generator.encode(two));  // which nobody else holds
      at::manual_seed(1);
      (image * at::randn_like(image)).sum().backward();
      const auto refined =
          generator.can_refine() ? generator.refine(noise, generator.encode(two), 2, 3.0) : at::Tensor{};
      return Numbers{image.detach(), noise.grad(), refined};
    };
    const auto fast = numbers("fast");
    for (const char* memory : {"balanced", "lean"}) {
      INFO(memory);
      const auto other = numbers(memory);
      CHECK(at::equal(other.image, fast.image));
      // Where paths join, gradients are added up in another order.
      check_relative_norm(name + " gradient in another memory mode", other.gradient, fast.gradient, 1e-12);
      if (fast.refined.defined()) CHECK(at::equal(other.refined, fast.refined));
    }
  });
}

TEST_CASE("generators: refined images have the size of the others, and no graph", "[goldens]") {
  for_each_generator([](const std::string& name, const fs::path& folder) {
    const auto generator = load_tiny(name, folder);
    if (!generator.can_refine()) return;
    const auto noise = noise_of(generator, 2).requires_grad_(true);
    const auto conditioning = generator.encode({tiny_prompts[0], tiny_prompts[2]});
    const auto refined = generator.refine(noise, conditioning, 2, 3.0);
    CHECK_FALSE(refined.requires_grad());
    CHECK(refined.sizes() == generator.generate(noise, conditioning).sizes());
    const auto alone =
        generator.refine(noise.detach().narrow(0, 1, 1), generator.encode({tiny_prompts[2]}), 2, 3.0);
    check_absolute(name + " batch: refined image", refined.narrow(0, 1, 1), alone, 1e-9);
  });
}

TEST_CASE("generators: a base that refines leaves nothing on the device, in any memory mode", "[goldens]") {
  register_meta_kernels();
  auto& memory = MetaMemory::install();
  for_each_generator([&](const std::string& name, const fs::path& folder) {
    const auto sdxl = folder.parent_path() / "sdxl-turbo";
    const std::map<std::string, std::string> bases = {
        {"sd-turbo", fmt::format("base = \"{}\"\n", (folder / "model").string())},
        {"sdxl-turbo", fmt::format("base = \"{0}/model\"\nbase_vae = \"{0}/vae-fp16-fix\"\n", sdxl.string())},
        {"hyper-sd", fmt::format("base = \"{0}/model\"\nbase_vae = \"{0}/vae-fp16-fix\"\n", sdxl.string())}};
    if (!bases.contains(name)) return;
    for (const char* mode : {"fast", "balanced", "lean"}) {
      INFO(mode);
      const auto generator = load_tiny(
          name, folder,
          {.dtype = "float32", .memory = mode, .device = at::kMeta, .seed = 0, .options = bases.at(name)});
      const auto conditioning = generator.encode({tiny_prompts[0]});
      auto shape = generator.noise_shape();
      shape.insert(shape.begin(), 1);
      const auto noise = at::empty(shape, at::TensorOptions(at::kMeta));
      const auto before = memory.live();
      memory.forget_peak();
      generator.refine(noise, conditioning, 2, 5.0);
      CHECK(memory.live() < before + 16384);  // weights that are away are one element each
      CHECK(memory.peak() > before + 100'000);
    }
  });
}

namespace {

/// What each generator's experiment in configs/ downloads, beside its rewards.
const std::map<std::string, std::vector<std::string>> downloads = {
    {"sd-turbo", {"stabilityai/sd-turbo"}},
    {"sdxl-turbo", {"stabilityai/sdxl-turbo", "madebyollin/sdxl-vae-fp16-fix"}},
    {"hyper-sd", {"stabilityai/stable-diffusion-xl-base-1.0", "ByteDance/Hyper-SD"}},
    {"pixart", {"PixArt-alpha/PixArt-XL-2-1024-MS", "PixArt-alpha/PixArt-Alpha-DMD-XL-2-512x512"}},
    {"flux-schnell", {"black-forest-labs/FLUX.1-schnell"}},
};

double gibibytes(std::int64_t bytes) { return static_cast<double>(bytes) / (1 << 30); }

}  // namespace

TEST_CASE("generators: at their published sizes, with all rewards, each memory mode takes less than the next",
          "[goldens]") {
  if (!HollowModels::possible()) {
    WARN("SKIPPED: the names and shapes of the published models are not in ../shared/goldens");
    return;
  }
  const HollowModels published;
  for (auto [name, ids] : downloads) {
    INFO(name);
    const auto rewards = HollowModels::rewards();
    ids.insert(ids.end(), rewards.begin(), rewards.end());
    std::map<std::string, MemoryEstimate> of;
    for (const char* memory : {"fast", "balanced", "lean"}) {
      const std::vector<std::string> all = {fmt::format("run.memory={}", memory), "run.dtype=bfloat16"};
      const auto experiment =
          read_experiment(fs::path(RENO_SOURCE_DIR) / "configs" / (name + ".toml"), plugin_registry(), all);
      of[memory] = rehearse(experiment, plugin_registry(), quiet_context(experiment));
      std::printf("  %-12s bfloat16, memory %-8s: %6.2f GiB at the peak, %6.2f GiB of weights stay\n",
                  name.c_str(), memory, gibibytes(of[memory].peak), gibibytes(of[memory].weights));
    }
    const auto activations = of["balanced"].peak - of["balanced"].weights;
    CHECK(of["balanced"].peak < of["fast"].peak - (std::int64_t{1} << 30));
    CHECK(of["lean"].peak < of["balanced"].peak * 2 / 3);
    CHECK(of["lean"].peak < published.largest_component(ids) + activations);  // as many bytes in float16
    CHECK(of["lean"].weights < std::int64_t{1} << 24);                        // where the image's tokens are
  }
}

namespace {

/// Collects the operators that are given weights which are away, as long as it lives. On the meta device such
/// weights are one element, seen from everywhere.
class AbsentWeights {
 public:
  AbsentWeights()
      : handle_(at::addGlobalCallback(
            at::RecordFunctionCallback(&look).needsInputs(true).scopes({at::RecordScope::FUNCTION}))) {
    used().clear();
  }
  ~AbsentWeights() { at::removeCallback(handle_); }

  static std::set<std::string>& used() {
    static std::set<std::string> names;
    return names;
  }

 private:
  /// What set_data itself asks.
  static bool moves(const at::RecordFunction& function) {
    return function.name() == std::string("aten::_has_compatible_shallow_copy_type");
  }

  static std::unique_ptr<at::ObserverContext> look(const at::RecordFunction& function) {
    const auto look_at = [&](const at::Tensor& tensor) {
      if (tensor.defined() && tensor.is_meta() && tensor.numel() > 1 && !moves(function) &&
          tensor.storage().nbytes() <= static_cast<std::size_t>(tensor.element_size()))
        used().insert(function.name());
    };
    for (const auto& input : function.inputs()) {
      if (input.isTensor()) look_at(input.toTensor());
      if (input.isTensorList())
        for (const at::Tensor& tensor : input.toTensorVector()) look_at(tensor);
    }
    return nullptr;
  }

  at::CallbackHandle handle_;
};

}  // namespace

TEST_CASE("generators: in lean mode, nothing is computed with weights that are away", "[goldens]") {
  register_meta_kernels();
  for_each_generator([](const std::string& name, const fs::path& folder) {
    const auto experiment = parse_tiny("memory = \"lean\"\n" + generator_section(name, folder) +
                                       reward_sections(folder.parent_path().parent_path() / "rewards"));
    Context context = quiet_context(experiment);
    context.device = at::kMeta;
    const AbsentWeights absent;
    const Objective objective = load_objective(experiment, plugin_registry(), context);
    auto shape = objective.generator().noise_shape();
    shape.insert(shape.begin(), 2);
    const auto noise = at::empty(shape, at::TensorOptions(at::kMeta).dtype(at::kFloat));
    const auto encoded = objective.encode({"a cat", "a dog"});
    CHECK(objective.measure(noise, encoded, true).gradient.sizes() == noise.sizes());
    if (objective.generator().can_refine()) objective.generator().refine(noise, encoded.conditioning, 2, 5.0);
    INFO(fmt::format("{}", fmt::join(AbsentWeights::used(), ", ")));
    CHECK(AbsentWeights::used().empty());
  });

  const AbsentWeights absent;  // which would be seen
  const auto weights = Weights::random(1, at::kMeta, at::kFloat);
  const nn::Linear layer(weights, 4, 4);
  weights.set_away(true);
  layer(at::empty({2, 4}, at::TensorOptions(at::kMeta)));
  CHECK(AbsentWeights::used().contains("aten::linear"));
}

namespace {

/// An option as text; "" where it is not set.
std::string text_of(const AnyOptions& options, const std::string& key) {
  for (const auto& option : options.fields())
    if (option.key == key) {
      const auto value = option.get();
      if (const auto* text = std::get_if<std::string>(&value)) return *text;
      if (const auto* number = std::get_if<double>(&value)) return fmt::format("{}", *number);
      if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
      return "";
    }
  FAIL("there is no option " << key);
  return "";
}

}  // namespace

TEST_CASE("generators: the experiments in configs/ have the published settings", "[goldens]") {
  using Settings = std::map<std::string, std::string>;
  const std::map<std::string, Settings> published = {
      {"sd-turbo", {{"weights", "stabilityai/sd-turbo"}, {"variant", "fp16"}}},
      {"sdxl-turbo",
       {{"weights", "stabilityai/sdxl-turbo"},
        {"vae", "madebyollin/sdxl-vae-fp16-fix"},
        {"base_vae", "madebyollin/sdxl-vae-fp16-fix"},
        {"variant", "fp16"}}},
      {"hyper-sd",
       {{"weights", "stabilityai/stable-diffusion-xl-base-1.0"},
        {"unet", "ByteDance/Hyper-SD/Hyper-SDXL-1step-Unet.safetensors"},
        {"vae", ""},
        {"base_vae", "madebyollin/sdxl-vae-fp16-fix"},
        {"float16_images", "true"},
        {"variant", "fp16"}}},
      {"pixart",
       {{"weights", "PixArt-alpha/PixArt-XL-2-1024-MS"},
        {"dmd", "PixArt-alpha/PixArt-Alpha-DMD-XL-2-512x512"},
        {"variant", ""}}},
      {"flux-schnell", {{"weights", "black-forest-labs/FLUX.1-schnell"}, {"variant", ""}}},
  };
  const std::map<std::string, std::pair<std::string, RefineOptions>> refinement = {
      {"sd-turbo", {"stabilityai/stable-diffusion-2-1-base", {{}, 50, 7.5}}},
      {"sdxl-turbo", {"stabilityai/stable-diffusion-xl-base-1.0", {{}, 50, 5.0}}},
      {"hyper-sd", {"stabilityai/stable-diffusion-xl-base-1.0", {{}, 50, 5.0}}},
  };
  for (const auto& [name, entry] : plugin_registry().generators) {
    INFO(name);
    const auto file = fs::path(RENO_SOURCE_DIR) / "configs" / (name + ".toml");
    const auto experiment = read_experiment(file, plugin_registry());
    CHECK(experiment.generator.plugin == name);
    for (const auto& [key, value] : published.at(name)) {
      INFO(key);
      CHECK(text_of(experiment.generator.options, key) == value);
    }
    CHECK(experiment.run.mode == Mode::optimize);
    CHECK(experiment.run.iterations == 50);
    CHECK(experiment.run.seed == 0);
    CHECK(experiment.run.batch == 1);
    CHECK(experiment.run.dtype == (name == "flux-schnell" ? at::kBFloat16 : at::kFloat));
    const bool large = name == "flux-schnell" || name == "pixart";
    CHECK(experiment.run.memory == (large ? MemoryMode::lean : MemoryMode::balanced));
    CHECK(experiment.optimizer.plugin == "sgd");
    const Settings optimizer = {{"lr", name == "hyper-sd" ? "10" : "5"},
                                {"momentum", "0.9"},
                                {"nesterov", "true"},
                                {"grad_clip", "0.1"}};
    for (const auto& [key, value] : optimizer) {
      INFO(key);
      CHECK(text_of(experiment.optimizer.options, key) == value);
    }
    CHECK(experiment.regularization.weight == 0.01);
    CHECK(experiment.refine == RefineOptions{});
    if (refinement.contains(name)) {
      auto [base, expected] = refinement.at(name);
      const auto refined = read_experiment(file, plugin_registry(), {"refine.generator=" + base});
      expected.generator = base;
      CHECK(refined.refine == expected);
    }
    std::map<std::string, double> weights;
    for (const auto& reward : experiment.rewards) weights[reward.plugin] = reward.weight;
    CHECK(weights == std::map<std::string, double>{
                         {"hpsv2", 5.0}, {"imagereward", 1.0}, {"clip-score", 0.01}, {"pickscore", 0.05}});
  }
  const auto flux = fs::path(RENO_SOURCE_DIR) / "configs/flux-schnell.toml";
  CHECK(read_experiment(flux, plugin_registry(), {"refine.guidance=0"}).refine == RefineOptions{{}, 4, 0.0});
}

TEST_CASE("generators: the loss of all five rewards falls", "[goldens]") {
  for_each_generator([](const std::string& name, const fs::path& folder) {
    const auto rewards = folder.parent_path().parent_path() / "rewards";
    const auto experiment =
        parse_tiny("iterations = 8\n" + generator_section(name, folder) + reward_sections(rewards));
    const Context context = quiet_context(experiment);
    const Objective objective = load_objective(experiment, plugin_registry(), context);
    AnyOptimizer optimizer = make_optimizer(experiment, plugin_registry(), context);
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
    CHECK(results[0].best.total == *std::min_element(totals.begin(), totals.end()));
    CHECK(results[0].best.scores.size() == 5);
  });
}
