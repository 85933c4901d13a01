#include <ATen/ATen.h>

#include <catch2/catch.hpp>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "reno/io/invented_source.hpp"
#include "reno/io/safetensors.hpp"
#include "reno/nn/modules.hpp"
#include "reno/nn/offload.hpp"
#include "reno/pipelines/in_stages.hpp"
#include "support/gpu.hpp"
#include "support/temporary_folder.hpp"

using namespace reno;
using nn::Offload;
using nn::Visits;

namespace {

constexpr std::int64_t size = 16;

/// A network of one layer, and how often it ran.
struct Network {
  Offload home;
  nn::Linear layer;
  mutable int runs = 0;

  explicit Network(MemoryMode memory, at::Device device = at::kCPU, Visits visits = Visits::every_iteration,
                   std::shared_ptr<const TensorSource> source = std::make_shared<const RandomSource>(1, 1.0))
      : home(std::move(source), context(memory, device), visits), layer(home.weights(), size, size) {}

  static Context context(MemoryMode memory, at::Device device) {
    Context context;
    context.device = device;
    context.memory = memory;
    return context;
  }

  at::Tensor operator()(const at::Tensor& x) const {
    ++runs;
    return at::tanh(layer(x));
  }
  auto run() const {
    return [this](const at::Tensor& x) { return (*this)(x); };
  }

  bool present() const { return layer.weight.storage().nbytes() == size * size * sizeof(float); }
};

at::Tensor meta_input() { return at::empty({2, size}, at::TensorOptions(at::kMeta)).requires_grad_(true); }

void go_back(const at::Tensor& output) { output.backward(at::empty(output.sizes(), output.options())); }

}  // namespace

TEST_CASE("Offloaded weights give the same numbers in every memory mode", "[nn]") {
  at::manual_seed(1);
  const auto x = at::randn({2, size}), cotangent = at::randn({2, size});
  const Network fast(MemoryMode::fast);
  const auto reference = x.clone().requires_grad_(true);
  const auto expected = fast(reference * 2);
  expected.backward(cotangent);
  for (const auto memory : {MemoryMode::fast, MemoryMode::balanced, MemoryMode::lean}) {
    const Network network(memory);
    const auto kept = x.clone().requires_grad_(true), rebuilt = x.clone().requires_grad_(true);
    const auto first = network.home.keeping_graph(kept * 2, network.run());
    first.backward(cotangent);
    CHECK(network.runs == 1);
    const auto second = network.home.rebuilding_graph(rebuilt * 2, network.run());
    second.backward(cotangent);
    CHECK(network.runs == (memory == MemoryMode::lean ? 3 : 2));
    CHECK(at::equal(first, expected));
    CHECK(at::equal(second, expected));
    CHECK(at::equal(kept.grad(), reference.grad()));
    CHECK(at::equal(rebuilt.grad(), reference.grad()));
  }
}

TEST_CASE("In the modes that are not lean the weights of every iteration stay", "[nn]") {
  for (const auto memory : {MemoryMode::fast, MemoryMode::balanced}) {
    const Network network(memory, at::kMeta);
    CHECK(network.present());
    network.home.during([] { return 0; });
    go_back(network.home.rebuilding_graph(meta_input(), network.run()));
    go_back(network.home.keeping_graph(meta_input(), network.run()));
    CHECK(network.present());
    CHECK(network.runs == 2);
  }
}

TEST_CASE("Only in the mode fast the weights of a prompt's encoder stay when it is encoded", "[nn]") {
  for (const auto memory : {MemoryMode::fast, MemoryMode::balanced, MemoryMode::lean}) {
    const Network network(memory, at::kMeta, Visits::once_per_prompt);
    CHECK(network.home.during([&] { return network.present(); }));
    CHECK(network.present() == (memory == MemoryMode::fast));
  }
}

TEST_CASE("On the CPU the weights of a prompt's encoder wait in their file", "[nn]") {
  const test::TemporaryFolder folder;
  const auto file = folder / "model.safetensors";
  at::manual_seed(1);
  const auto weight = at::randn({size, size});
  write_safetensors(file, {{"weight", weight}, {"bias", at::zeros({size})}});
  for (const auto memory : {MemoryMode::fast, MemoryMode::balanced, MemoryMode::lean})
    for (const auto visits : {Visits::once_per_prompt, Visits::every_iteration}) {
      const Network network(memory, at::kCPU, visits, open_safetensors(file));
      const bool stays = memory == MemoryMode::fast || visits == Visits::every_iteration;
      for (int visit = 0; visit < 2; ++visit) {
        CHECK(network.present() == stays);
        CHECK(network.home.during([&] { return at::equal(network.layer.weight, weight); }));
      }
      CHECK(network.present() == stays);
    }
}

TEST_CASE("Lean: weights are there while they are used, and leave when that fails", "[nn]") {
  const Network network(MemoryMode::lean, at::kMeta);
  CHECK_FALSE(network.present());
  CHECK(network.home.during([&] { return network.present(); }));
  CHECK_FALSE(network.present());
  CHECK_THROWS_AS(network.home.during([]() -> int { throw std::runtime_error("no"); }), std::runtime_error);
  CHECK_FALSE(network.present());
  const c10::NoGradGuard no_grad;
  const auto looks = [&](const at::Tensor& in) {
    CHECK(network.present());
    return network(in);
  };
  const auto kept = network.home.keeping_graph(meta_input(), looks);
  CHECK_FALSE(network.present());
  const auto rebuilt = network.home.rebuilding_graph(meta_input(), looks);
  CHECK_FALSE(network.present());
}

TEST_CASE("Lean: weights stay with a graph that is kept", "[nn]") {
  const Network network(MemoryMode::lean, at::kMeta);
  const auto x = meta_input();
  {
    const auto output = network.home.keeping_graph(x, network.run());
    CHECK(network.present());
    go_back(output);
    CHECK(x.grad().sizes() == x.sizes());
  }
  CHECK_FALSE(network.present());
  {
    const auto abandoned = network.home.keeping_graph(x, network.run());
    CHECK(network.present());
  }
  CHECK_FALSE(network.present());
  auto first = network.home.keeping_graph(x, network.run());
  auto second = network.home.keeping_graph(x, network.run());
  first.reset();
  network.home.during([] { return 0; });
  CHECK(network.present());
  go_back(second);
  second.reset();
  CHECK_FALSE(network.present());
}

TEST_CASE("Lean: weights come again for a graph that is rebuilt", "[nn]") {
  const Network network(MemoryMode::lean, at::kMeta);
  const auto x = meta_input();
  int seen = 0;
  const auto looks = [&](const at::Tensor& in) {
    CHECK(network.present());
    // The gradient of what the layer makes: gone back through before what it was made from.
    const auto output = network(in);
    if (output.requires_grad())
      output.register_hook([&](const at::Tensor&) {
        CHECK(network.present());
        ++seen;
      });
    return output;
  };
  const auto output = network.home.rebuilding_graph(x, looks);
  CHECK_FALSE(network.present());
  go_back(output);
  CHECK_FALSE(network.present());
  CHECK(x.grad().sizes() == x.sizes());
  CHECK(network.runs == 2);
  CHECK(seen == 1);
}

TEST_CASE("Stages come one at a time, and the clock tells them forwards and back", "[nn]") {
  for (const auto memory : {MemoryMode::balanced, MemoryMode::lean}) {
    const Network first(memory, at::kMeta), second(memory, at::kMeta);
    const bool alone = memory == MemoryMode::lean;
    const auto denoise = [&](const at::Tensor& in) {
      CHECK(first.present());
      CHECK(second.present() == !alone);
      return first(in);
    };
    const auto decode = [&](const at::Tensor& in) {
      CHECK(second.present());
      CHECK(first.present() == !alone);
      return second(in);
    };
    const auto clock = std::make_shared<StageClock>(c10::kCPU);
    clock->start();
    const auto image = in_stages(clock, meta_input(), Stage{first.home, denoise}, Stage{second.home, decode});
    clock->mark("rewards");
    go_back(image);
    const StageSeconds taken = clock->take();
    std::vector<std::string> stages;
    for (const auto& [stage, seconds] : taken.all()) stages.push_back(stage);
    CHECK(stages ==
          std::vector<std::string>{"denoise", "decode", "rewards", "decode backward", "denoise backward"});
    CHECK(first.runs == (alone ? 2 : 1));
    CHECK(second.runs == (alone ? 2 : 1));
    CHECK(first.present() == !alone);
  }
}

TEST_CASE("On a GPU, offloaded weights come, work and go home, forwards and backwards", "[nn][cuda]") {
  const auto device = reno::test::gpu();
  if (!device) return;
  at::manual_seed(1);
  const auto input = at::randn({2, size}), cotangent = at::randn({2, size});
  for (const auto visits : {Visits::every_iteration, Visits::once_per_prompt})
    for (const auto memory : {MemoryMode::fast, MemoryMode::balanced, MemoryMode::lean}) {
      const Network network(memory, *device, visits);
      const auto at_home = input.clone().requires_grad_(true);
      const auto expected = at::tanh(at::linear(at_home, network.layer.weight.cpu()));  // its bias is zero
      expected.backward(cotangent);
      const bool stays = nn::stay_on_device(memory, visits);
      const auto is_home = [&] { return network.layer.weight.is_cpu(); };
      CHECK(is_home() == !stays);
      const auto watched = [&](const at::Tensor& x) {
        CHECK(network.layer.weight.is_cuda());
        return network(x);
      };
      for (int visit = 0; visit < 2; ++visit) {  // page-locked memory is made at the first
        for (const bool rebuild : {false, true}) {
          const auto x = input.to(*device).requires_grad_(true);
          const auto y =
              rebuild ? network.home.rebuilding_graph(x, watched) : network.home.keeping_graph(x, watched);
          CHECK(is_home() == (!stays && rebuild));
          y.backward(cotangent.to(*device));
          CHECK((y.detach().cpu() - expected).abs().max().item<double>() <= 1e-6);
          CHECK((x.grad().cpu() - at_home.grad()).abs().max().item<double>() <= 1e-6);
        }
        const auto alone = network.home.during([&] {
          const at::NoGradGuard no_grad;
          return watched(input.to(*device));
        });
        CHECK((alone.cpu() - expected).abs().max().item<double>() <= 1e-6);
        CHECK(is_home() == !stays);
        if (!stays) CHECK(network.layer.weight.is_pinned() == (visits == Visits::every_iteration));
      }
    }
}
