// The whole loop against trajectories that the Python libraries recorded: same noise, same models, same
// optimizers.
#include <ATen/ATen.h>

#include <catch2/catch.hpp>

#include "reno/experiment/toml.hpp"
#include "reno/loop.hpp"
#include "reno/run/noise.hpp"
#include "support/golden.hpp"
#include "support/gpu.hpp"
#include "support/plugins.hpp"

namespace {

using namespace reno;
using namespace reno::test;
namespace fs = std::filesystem;

/// What the loop went through, per iteration.
struct Trajectory {
  std::vector<at::Tensor> noise;
  std::vector<at::Tensor> images;
  std::vector<ImageMetrics> metrics;
  ImageResult result;

  at::Tensor column(const std::function<double(const ImageMetrics&)>& value) const {
    std::vector<double> values;
    for (const auto& row : metrics) values.push_back(value(row));
    return at::tensor(values, at::kDouble);
  }
};

/// The stored run `name` as an experiment. `parent` has the folders generators/ and rewards/ of the preset.
Experiment make_experiment(const Golden& golden, const nlohmann::json& run, const std::string& dtype) {
  const fs::path preset = golden.folder.parent_path();
  std::string text =
      fmt::format("[run]\nprompt = \"{}\"\niterations = {}\nseed = {}\ndevice = \"cpu\"\ndtype = \"{}\"\n",
                  golden.json["prompt"].get<std::string>(), run["iterations"].get<int>(),
                  golden.json["seed"].get<int>(), dtype);
  text += fmt::format("[generator]\nplugin = \"sd-turbo\"\nweights = \"{}\"\n",
                      (preset / "generators/sd-turbo/model").string());
  for (const std::string reward : run["rewards"]) {
    const std::string plugin = reward == "clip" ? "clip-score" : reward;
    text += fmt::format("[[reward]]\nplugin = \"{}\"\nweight = {}\nweights = \"{}\"\n", plugin,
                        run["weights"][reward].get<double>(), (preset / "rewards" / reward).string());
    if (reward == "aesthetic")
      text += fmt::format("clip = \"{}\"\n", (preset / "rewards/aesthetic/ViT-L-14.pt").string());
  }
  text += fmt::format("[optimizer]\nplugin = \"{}\"\nlr = {:.6f}\n", run["optimizer"].get<std::string>(),
                      run["lr"].get<double>());
  if (run.contains("nesterov")) text += fmt::format("nesterov = {}\n", run["nesterov"].get<bool>());
  if (run.contains("clip") && run["clip"].is_number())
    text += fmt::format("grad_clip = {:.6f}\n", run["clip"].get<double>());
  if (run.contains("reg"))
    text += fmt::format("[regularization]\nweight = {:.6f}\n", run["reg"].get<double>());
  return parse_experiment(text, "trajectory.toml", plugin_registry());
}

Trajectory follow(const Golden& golden, const nlohmann::json& run, const std::string& dtype,
                  std::size_t iterations = 8, at::Device device = at::kCPU) {
  const Experiment experiment = make_experiment(golden, run, dtype);
  Context context = quiet_context(experiment);
  context.device = device;
  context.clock = nullptr;  // which the context has made for the CPU
  const Objective objective = load_objective(experiment, plugin_registry(), context);
  AnyOptimizer optimizer = make_optimizer(experiment, plugin_registry(), context);

  NoiseSource source(context.seed, 0, objective.generator().noise_shape());
  at::Tensor noise = source.draw();
  CHECK(at::equal(noise, golden["initial_latents"]));
  noise = noise.to(device, context.master_dtype());

  Trajectory trajectory;
  LoopOptions options;
  options.iterations = static_cast<std::int64_t>(iterations);
  options.on_iteration = [&](const Iteration& iteration) {
    trajectory.noise.push_back(iteration.noise.clone());
    trajectory.images.push_back(iteration.images);
    trajectory.metrics.push_back(iteration.metrics[0]);
  };
  std::vector<ImageResult> results;
  optimize_noise(
      objective, objective.encode({experiment.run.prompt}), noise,
      [&](at::Tensor& current, const Evaluation& evaluation, const Evaluate& evaluate) {
        optimizer.step(current, evaluation, evaluate);
      },
      options, results);
  trajectory.result = results[0];
  return trajectory;
}

/// Whether all rewards that the stored run used are there.
bool can_run(const nlohmann::json& run) {
  for (const std::string reward : run["rewards"]) {
    if (plugin_registry().rewards.find(reward == "clip" ? "clip-score" : reward) == nullptr) return false;
  }
  return true;
}

template <class Check>
void for_each_run(const std::vector<std::string>& names, const Check& check) {
  for (const Golden& golden : goldens("trajectory")) {
    if (golden.preset == "a (complete)") continue;  // the repository has all that is compared
    for (const auto& run : golden.json["runs"]) {
      const std::string name = run["name"];
      if (std::ranges::find(names, name) == names.end()) continue;
      INFO(golden.name << " " << name);
      REQUIRE(can_run(run));
      check(golden, run, name);
    }
  }
}

double total(const ImageMetrics& metrics) { return metrics.total; }
double norm(const ImageMetrics& metrics) { return metrics.norm; }
double grad_norm(const ImageMetrics& metrics) { return metrics.grad_norm.value_or(0.0); }

/// Allowed deviation of the noise at iteration i: ten times what rounding alone moves it, as the reference
/// measured that in two ways.
double allowed_noise(const nlohmann::json& run, std::size_t i) {
  return 1e-5 + 10.0 * std::max(run["latents_fp32_vs_fp64_per_iteration"][i].get<double>(),
                                run["latents_fp32_vs_start_nudged_by_1ulp_per_iteration"][i].get<double>());
}

/// How many iterations can be compared: to the first at which one of our pixels is on the other side of the
/// clamp's edge than the reference's, where the gradient jumps.
std::size_t iterations_before_an_edge(const Golden& golden, const nlohmann::json& run,
                                      const Trajectory& ours) {
  const at::NoGradGuard no_grad;
  const Experiment experiment = make_experiment(golden, run, "float32");
  const Objective objective = load_objective(experiment, plugin_registry(), quiet_context(experiment));
  const auto encoded = objective.encode({experiment.run.prompt});
  const at::Tensor latents = golden[run["name"].get<std::string>() + ".latents"];
  const auto clamped = [](const at::Tensor& image) { return image.eq(0).logical_or(image.eq(1)); };
  std::size_t i = 0;
  for (; i < ours.noise.size(); ++i) {
    const auto theirs =
        objective.generator().generate(latents[static_cast<std::int64_t>(i)], encoded.conditioning);
    if (!at::equal(clamped(theirs), clamped(ours.images[i]))) return i + 1;
  }
  return i;
}

/// The first value must agree; later ones move with the noise, and `per_noise` says how far at most.
void check_column(const std::string& quantity, const nlohmann::json& run, const at::Tensor& got,
                  const at::Tensor& expected, double at_start, double per_noise) {
  const at::Tensor distance = (got - expected.to(at::kDouble).slice(0, 0, got.size(0))).abs();
  check_deviation(quantity + " at iteration 0", distance[0].item<double>(), at_start);
  for (std::int64_t i = 1; i < got.size(0); ++i) {
    INFO(quantity << " at iteration " << i);
    CHECK(distance[i].item<double>() <=
          at_start + per_noise * allowed_noise(run, static_cast<std::size_t>(i)));
  }
  std::printf("  %-60s iteration 0: %.1e, later: %.1e\n", quantity.c_str(), distance[0].item<double>(),
              distance.max().item<double>());
}

const std::map<std::string, double> loss_tolerances = {
    {"clip", 3e-4}, {"pickscore", 3e-4}, {"imagereward", 5e-5}, {"hpsv2", 1e-5}, {"aesthetic", 1e-5}};

void check_against(const Golden& golden, const nlohmann::json& run, const std::string& name) {
  const Trajectory ours = follow(golden, run, "float32");
  const std::string title = golden.name + " " + name;
  REQUIRE(ours.noise.size() == 8);
  // Which pixels cross, and when, is up to rounding; float64, below, shows that nothing else differs.
  const std::size_t count = iterations_before_an_edge(golden, run, ours);
  if (count < 8)
    std::printf("  %s: a pixel crosses the clamp's edge, %zu iterations compared\n", title.c_str(), count);
  REQUIRE(count >= 3);
  const auto column = [&](const auto& value, std::size_t rows) {
    return ours.column(value).slice(0, 0, static_cast<std::int64_t>(std::min(rows, count)));
  };
  const at::Tensor latents = golden[name + ".latents"];
  double worst = 0.0;
  for (std::size_t i = 0; i < count; ++i) {
    INFO(title << " iteration " << i);
    const double distance =
        deviation(ours.noise[i], latents[static_cast<std::int64_t>(i)], Measure::absolute);
    CHECK(distance <= allowed_noise(run, i));
    worst = std::max(worst, distance / allowed_noise(run, i));
  }
  check_deviation(title + " noise, of what is allowed", worst, 1.0);

  check_column(title + " total", run, column(total, 8), golden[name + ".total"], 1e-4, 10.0);
  check_column(title + " norm", run, column(norm, 8), golden[name + ".norm"], 1e-4, 10.0);
  std::size_t k = 0;
  for (const std::string reward : run["rewards"]) {
    const auto losses = column([k](const ImageMetrics& metrics) { return metrics.losses[k]; }, 8);
    check_column(title + " loss " + reward, run, losses, golden[name + ".loss." + reward],
                 loss_tolerances.at(reward), 10.0);
    ++k;
  }
  check_column(title + " grad_norm", run, column(grad_norm, 7), golden[name + ".grad_norm"],
               1e-4 * golden[name + ".grad_norm"][0].item<double>(), 100.0);
  CHECK(ours.result.best_iteration == run["best_iteration"]);
  // All runs start from the same noise.
  check_absolute(title + " initial image", ours.result.initial_image, golden["sgd.initial_image"][0], 1e-5);
  if (run["best_iteration"] >= count) return;
  check_absolute(title + " best image", ours.result.best_image, golden[name + ".best_image"][0],
                 1e-5 + allowed_noise(run, run["best_iteration"]));
}

TEST_CASE("SGD and Adam follow the stored trajectories of two rewards", "[goldens]") {
  for_each_run({"two_sgd", "two_adam"}, check_against);
}

TEST_CASE("SGD and Adam follow the stored trajectories of four and five rewards", "[goldens]") {
  for_each_run({"sgd", "sgd_noreg", "sgd_reg0.1_clip1", "sgd_plain_momentum", "sgd_lr40", "sgd_best_early",
                "sgd_with_aesthetic", "adam"},
               check_against);
}

TEST_CASE("in double precision all optimizers follow the stored trajectories", "[goldens]") {
  for_each_run(
      {"two_sgd", "two_adam", "two_lbfgs_noclip", "sgd", "sgd_noreg", "sgd_reg0.1_clip1",
       "sgd_plain_momentum", "sgd_lr40", "sgd_best_early", "sgd_with_aesthetic", "adam", "lbfgs_noclip"},
      [](const Golden& golden, const nlohmann::json& run, const std::string& name) {
        // L-BFGS amplifies the last bit; the reference says by how much. It is compared as long as it is
        // stable.
        const auto spread =
            run.value("latents_fp64_vs_start_scaled_by_1+1e-15_per_iteration", std::vector<double>(8, 0.0));
        const auto stable = static_cast<std::size_t>(
            std::ranges::count_if(spread, [](double distance) { return distance < 1e-5; }));
        REQUIRE(stable >= 5);
        const Trajectory ours = follow(golden, run, "float64", stable);
        const at::Tensor latents = golden[name + ".fp64.latents"];
        const std::string title = golden.name + " " + name + " in double precision";
        double worst = 0.0;
        for (std::size_t i = 0; i < stable; ++i) {
          const double distance =
              deviation(ours.noise[i], latents[static_cast<std::int64_t>(i)], Measure::absolute);
          worst = std::max(worst, distance);
          INFO(title << " iteration " << i << ", the reference's own spread " << spread[i]);
          if (spread[i] > 0) std::printf("    iteration %zu: %.1e, spread %.1e\n", i, distance, spread[i]);
          CHECK(distance <= 1e-9 + 1000.0 * spread[i]);
        }
        std::printf("  %-70s %-9s %.1e\n", (title + " latents").c_str(), "absolute", worst);
        check_absolute(title + " total", ours.column(total).slice(0, 0, 2),
                       golden[name + ".fp64.total"].slice(0, 0, 2), 1e-6);
      });
}

TEST_CASE("in double precision the loop follows a stored trajectory on a GPU, too", "[goldens][cuda]") {
  const auto device = gpu();
  if (!device) return;
  for_each_run({"two_sgd", "two_adam", "sgd_with_aesthetic"},
               [&](const Golden& golden, const nlohmann::json& run, const std::string& name) {
                 const Trajectory ours = follow(golden, run, "float64", 8, *device);
                 const at::Tensor latents = golden[name + ".fp64.latents"];
                 for (std::int64_t i = 0; i < 8; ++i)
                   check_absolute(golden.name + " " + name + " latents on a GPU",
                                  ours.noise[static_cast<std::size_t>(i)], latents[i], 1e-7);
               });
}

TEST_CASE("L-BFGS in single precision falls as far as the reference", "[goldens]") {
  for_each_run({"two_lbfgs_noclip"},
               [](const Golden& golden, const nlohmann::json& run, const std::string& name) {
                 const Trajectory ours = follow(golden, run, "float32");
                 const at::Tensor expected = golden[name + ".total"].to(at::kDouble);
                 const auto fallen = ours.result.initial.total - ours.result.best.total;
                 const auto reference = (expected[0] - expected.min()).item<double>();
                 std::printf("  %-70s total falls by %.3f, reference %.3f\n",
                             (golden.name + " " + name).c_str(), fallen, reference);
                 CHECK(fallen > 0.9 * reference);
               });
}

}  // namespace
