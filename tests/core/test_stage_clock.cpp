#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <thread>

#include "reno/stage_clock.hpp"
#include "support/gpu.hpp"

using namespace reno;

namespace {

void wait_for(std::chrono::milliseconds duration) { std::this_thread::sleep_for(duration); }

}  // namespace

TEST_CASE("a stage has what passed since the mark before; equal names add up", "[stage-clock]") {
  using namespace std::chrono_literals;
  StageClock clock(c10::kCPU);
  clock.mark("before the start");
  clock.start();
  wait_for(4ms);
  clock.mark("long");
  clock.mark("short");
  wait_for(4ms);
  clock.mark("long");
  const auto seconds = clock.take().all();
  REQUIRE(seconds.size() == 2);
  CHECK(seconds[0].first == "long");
  CHECK(seconds[0].second >= 0.008);
  CHECK(seconds[1].first == "short");
  CHECK(seconds[1].second < seconds[0].second);
  CHECK(clock.take().all().empty());
}

TEST_CASE("a gradient's arrival ends a stage of the way back", "[stage-clock]") {
  auto clock = std::make_shared<StageClock>(c10::kCPU);
  clock->start();
  const at::Tensor x = at::ones({2}).requires_grad_();
  const at::Tensor y = x * 2;
  mark_gradient(clock, x, "to x");
  mark_gradient(clock, y, "to y");
  mark_gradient(clock, at::ones({2}), "nothing to go back through");
  torch::autograd::grad({(y * y).sum()}, {x});
  const auto seconds = clock->take().all();
  REQUIRE(seconds.size() == 2);
  CHECK(seconds[0].first == "to y");
  CHECK(seconds[1].first == "to x");
}

TEST_CASE("without a clock nothing is marked", "[stage-clock]") {
  mark_stage(nullptr, "anything");
  mark_gradient(nullptr, at::ones({1}).requires_grad_(), "anything");
}

TEST_CASE("a clock that waits, waits for its own device", "[stage-clock][cuda]") {
  if (!reno::test::gpu()) return;
  // The last one, which is not the current device where there are several.
  const auto last = static_cast<c10::DeviceIndex>(torch::cuda::device_count() - 1);
  const at::Device device(at::kCUDA, last);
  auto x = at::ones({2048, 2048}, device);
  StageClock clock(device, /*synchronize=*/true);
  clock.start();
  for (int i = 0; i < 200; ++i) x = x.matmul(x) * 1e-4;
  clock.mark("products");
  const c10::impl::VirtualGuardImpl guard(device.type());
  CHECK(guard.queryStream(guard.getStream(device)));
  CHECK(clock.take().all().at(0).second > 0);
}
