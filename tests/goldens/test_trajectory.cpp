// The whole loop against trajectories that the Python libraries recorded: same noise, same models, same
// optimizers.
#include <ATen/ATen.h>
#include <spdlog/sinks/null_sink.h>

#include <catch2/catch.hpp>

#include "reno/experiment/toml.hpp"
#include "reno/loop.hpp"
#include "reno/optimizers/builtin.hpp"
#include "reno/plugin_loader.hpp"
#include "reno/run/context.hpp"
#include "reno/run/noise.hpp"
#include "support/golden.hpp"

namespace {

using namespace reno;
using namespace reno::test;
namespace fs = std::filesystem;

const Registry& registry() {
  static const Registry loaded = [] {
    Registry all;
    register_builtin_optimizers(all);
    load_plugins({fs::path(RENO_BUILD_DIR) / "lib/reno/plugins"}, all);
    return all;
  }();
  return loaded;
}

/// What the loop went through, per iteration.
struct Trajectory {
  std::vector<at::Tensor> noise;
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
  }
  text += fmt::format("[optimizer]\nplugin = \"{}\"\nlr = {:.6f}\n", run["optimizer"].get<std::string>(),
                      run["lr"].get<double>());
  if (run.contains("nesterov")) text += fmt::format("nesterov = {}\n", run["nesterov"].get<bool>());
  if (run.contains("clip") && run["clip"].is_number())
    text += fmt::format("grad_clip = {:.6f}\n", run["clip"].get<double>());
  if (run.contains("reg"))
    text += fmt::format("[regularization]\nweight = {:.6f}\n", run["reg"].get<double>());
  return parse_experiment(text, "trajectory.toml", registry());
}

Trajectory follow(const Golden& golden, const nlohmann::json& run, const std::string& dtype) {
  const Experiment experiment = make_experiment(golden, run, dtype);
  auto log = std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::null_sink_mt>());
  const Context context = make_context(experiment, c10::kCPU, log);
  const Objective objective = load_objective(experiment, registry(), context);
  AnyOptimizer optimizer = make_optimizer(experiment, registry(), context);

  NoiseSource source(context.seed, 0, objective.generator().noise_shape());
  at::Tensor noise = source.draw();
  CHECK(at::equal(noise, golden["initial_latents"]));
  noise = noise.to(context.master_dtype());

  Trajectory trajectory;
  LoopOptions options;
  options.iterations = experiment.run.iterations;
  options.on_iteration = [&](const Iteration& iteration) {
    trajectory.noise.push_back(iteration.noise.clone());
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
    if (registry().rewards.find(reward == "clip" ? "clip-score" : reward) == nullptr) return false;
  }
  return true;
}

template <class Check>
void for_each_run(const std::vector<std::string>& names, const Check& check) {
  for (const Golden& golden : goldens("trajectory")) {
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

/// How far rounding alone moves the noise at iteration i, as the reference measured it in two ways.
double rounding(const nlohmann::json& run, std::size_t i) {
  return std::max(run["latents_fp32_vs_fp64_per_iteration"][i].get<double>(),
                  run["latents_fp32_vs_start_nudged_by_1ulp_per_iteration"][i].get<double>());
}

TEST_CASE("SGD and Adam follow the stored trajectories", "[goldens]") {
  for_each_run({"two_sgd", "two_adam"}, [](const Golden& golden, const nlohmann::json& run,
                                           const std::string& name) {
    const Trajectory ours = follow(golden, run, "float32");
    const std::string title = golden.name + " " + name;
    REQUIRE(ours.noise.size() == 8);
    const at::Tensor latents = golden[name + ".latents"];
    double worst = 0.0;
    for (std::size_t i = 0; i < ours.noise.size(); ++i) {
      const auto deviation =
          (ours.noise[i] - latents[static_cast<std::int64_t>(i)]).abs().max().item<double>();
      worst = std::max(worst, deviation);
      INFO(title << " iteration " << i);
      CHECK(deviation <= 10.0 * rounding(run, i) + 1e-5);
    }
    std::printf("  %-70s %-9s %.1e (allowed 10 x rounding + 1e-5; rounding at the end %.1e)\n",
                (title + " latents").c_str(), "absolute", worst, rounding(run, 7));

    check_absolute(title + " total at iteration 0", ours.column(total).slice(0, 0, 1),
                   golden[name + ".total"].slice(0, 0, 1).to(at::kDouble), 1e-4);
    // Later numbers move with the noise: allowed is what the noise's own deviation explains.
    const double moved = 10.0 * rounding(run, 7) + 1e-5;
    check_absolute(title + " total", ours.column(total), golden[name + ".total"].to(at::kDouble),
                   1e-4 + 10.0 * moved);
    check_absolute(title + " norm", ours.column(norm), golden[name + ".norm"].to(at::kDouble),
                   1e-4 + 10.0 * moved);
    std::size_t k = 0;
    for (const std::string reward : run["rewards"]) {
      const auto losses = ours.column([k](const ImageMetrics& metrics) { return metrics.losses[k]; });
      const at::Tensor expected = golden[name + ".loss." + reward].to(at::kDouble);
      check_absolute(title + " loss " + reward + " at iteration 0", losses.slice(0, 0, 1),
                     expected.slice(0, 0, 1), 3e-4);
      check_absolute(title + " loss " + reward, losses, expected, 3e-4 + 1000.0 * moved);
      ++k;
    }
    const auto grad_norms =
        ours.column([](const ImageMetrics& metrics) { return metrics.grad_norm.value_or(0.0); })
            .slice(0, 0, 7);
    check_relative_norm(title + " grad_norm", grad_norms, golden[name + ".grad_norm"].to(at::kDouble), 1e-2);
    check_relative_norm(title + " grad_norm at iteration 0", grad_norms.slice(0, 0, 1),
                        golden[name + ".grad_norm"].to(at::kDouble).slice(0, 0, 1), 1e-4);
    CHECK(ours.result.best_iteration == run["best_iteration"]);
    check_absolute(title + " initial image", ours.result.initial_image, golden[name + ".initial_image"][0],
                   1e-5);
    check_absolute(title + " best image", ours.result.best_image, golden[name + ".best_image"][0],
                   1e-5 + moved);
  });
}

TEST_CASE("in double precision all optimizers follow the stored trajectories", "[goldens]") {
  for_each_run({"two_sgd", "two_adam", "two_lbfgs_noclip"},
               [](const Golden& golden, const nlohmann::json& run, const std::string& name) {
                 const Trajectory ours = follow(golden, run, "float64");
                 const at::Tensor latents = golden[name + ".fp64.latents"];
                 const std::string spread_key = "latents_fp64_vs_start_scaled_by_1+1e-15_per_iteration";
                 const std::string title = golden.name + " " + name + " in double precision";
                 double worst = 0.0;
                 for (std::size_t i = 0; i < ours.noise.size(); ++i) {
                   // L-BFGS amplifies the last bit; the reference says by how much.
                   const double spread = run.contains(spread_key) ? run[spread_key][i].get<double>() : 0.0;
                   const auto deviation =
                       (ours.noise[i] - latents[static_cast<std::int64_t>(i)]).abs().max().item<double>();
                   worst = std::max(worst, deviation);
                   INFO(title << " iteration " << i << ", the reference's own spread " << spread);
                   std::printf("    iteration %zu: %.1e, spread %.1e\n", i, deviation, spread);
                   CHECK(deviation <= 1e-9 + 1000.0 * spread);
                 }
                 std::printf("  %-70s %-9s %.1e\n", (title + " latents").c_str(), "absolute", worst);
                 check_absolute(title + " total", ours.column(total).slice(0, 0, 2),
                                golden[name + ".fp64.total"].slice(0, 0, 2), 1e-6);
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
