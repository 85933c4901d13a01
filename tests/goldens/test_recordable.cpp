// Whether a device can record an iteration and replay it: nothing in it may come from the host, and the host
// may look at no result. On the device `meta` both show themselves without a GPU.
#include <ATen/record_function.h>

#include <catch2/catch.hpp>
#include <string>

#include "goldens/tiny_generators.hpp"
#include "reno/nn/meta_kernels.hpp"
#include "reno/replayed_objective.hpp"

using namespace reno;
using namespace reno::test;
namespace fs = std::filesystem;

namespace {

/// As long as it lives, notes the copies between the host and the device `meta`. To look at a number there is
/// an error anyway.
class Transfers {
 public:
  Transfers()
      : handle_(at::addGlobalCallback(
            at::RecordFunctionCallback(look).needsInputs(true).scopes({at::RecordScope::FUNCTION}))) {
    count_ = 0;
  }
  ~Transfers() { at::removeCallback(handle_); }
  Transfers(const Transfers&) = delete;
  Transfers& operator=(const Transfers&) = delete;

  static int count() { return count_; }

 private:
  static std::unique_ptr<at::ObserverContext> look(const at::RecordFunction& function) {
    const auto inputs = function.inputs();
    if (std::string(function.name()) == "aten::copy_" && inputs.size() > 1 && inputs[0].isTensor() &&
        inputs[1].isTensor() && inputs[0].toTensor().is_meta() != inputs[1].toTensor().is_meta())
      ++count_;
    return nullptr;
  }

  static inline int count_ = 0;
  at::CallbackHandle handle_;
};

/// A tiny generator with all rewards.
Experiment with_all_rewards(const std::string& name, const fs::path& folder, const std::string& run) {
  return parse_tiny(run + generator_section(name, folder) +
                    reward_sections(folder.parent_path().parent_path() / "rewards"));
}

at::Tensor noise_for(const Objective& objective, at::Device device) {
  auto shape = objective.generator().noise_shape();
  shape.insert(shape.begin(), 2);
  return at::randn(shape, at::TensorOptions(at::kFloat)).to(device);
}

}  // namespace

TEST_CASE("generators: from the second iteration on, nothing comes from the host, and it waits for nothing",
          "[goldens]") {
  register_meta_kernels();
  for_each_generator([](const std::string& name, const fs::path& folder) {
    for (const char* run : {"memory = \"fast\"\n", "memory = \"balanced\"\ndtype = \"bfloat16\"\n"}) {
      INFO(run);
      const auto experiment = with_all_rewards(name, folder, run);
      Context context = quiet_context(experiment);
      context.device = at::kMeta;
      const Objective objective = load_objective(experiment, plugin_registry(), context);
      const auto encoded = objective.encode({"a cat", "a dog"});
      const auto noise = noise_for(objective, at::kMeta);
      objective.measure(noise, encoded, true);
      const Transfers transfers;
      objective.measure(noise, encoded, true);
      CHECK(Transfers::count() == 0);
    }
  });

  const Transfers transfers;  // which would be seen
  at::ones({2}).to(at::kMeta);
  CHECK(Transfers::count() == 1);
}

TEST_CASE("generators: a GPU's replays of an iteration are what it computes without", "[goldens][cuda]") {
  const auto device = gpu();
  if (!device) return;
  if (!plugin_registry().make_device_graph) {
    WARN("SKIPPED: the CUDA kernels were not built");
    return;
  }
  for_each_generator([&](const std::string& name, const fs::path& folder) {
    for (const char* memory : {"fast", "balanced"}) {
      INFO(memory);
      const auto experiment = with_all_rewards(name, folder, fmt::format("memory = \"{}\"\n", memory));
      Context context = quiet_context(experiment);
      context.device = *device;
      const Objective objective = load_objective(experiment, plugin_registry(), context);
      const auto encoded = objective.encode({"a cat", "a dog"});
      const auto graph = plugin_registry().make_device_graph(*device);
      ReplayedObjective replayed(objective, encoded, graph.get());
      for (int iteration = 0; iteration < 4; ++iteration) {
        const auto noise = noise_for(objective, *device);
        const auto plain = objective.measure(noise, encoded, true);
        const auto measured = replayed.measure(noise, true);
        CHECK(deviation(measured.images.cpu(), plain.images.cpu(), Measure::absolute) < 1e-5);
        CHECK(deviation(measured.total.cpu(), plain.total.cpu(), Measure::absolute) < 1e-4);
        CHECK(deviation(measured.gradient.cpu(), plain.gradient.cpu(), Measure::relative_norm) < 1e-4);
      }
    }
  });
}
