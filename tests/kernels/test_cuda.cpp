// The arithmetic of the CUDA kernels, block by block and thread by thread on the CPU.
#include <ATen/ATen.h>
#include <dlfcn.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <limits>
#include <vector>

#include "../../plugins/kernels/cuda/group_norm.hpp"
#include "kernels/reference.hpp"
#include "reno/nn/group_norm.hpp"
#include "reno/plugin_loader.hpp"
#include "support/gpu.hpp"

namespace {

using namespace reno;
using namespace reno::kernels;
using namespace reno::test;

/// A block whose threads come one after the other, in either order: a phase must not depend on it.
struct CpuBlock {
  int threads;
  bool backwards;

  template <class Phase>
  void each(const Phase& phase) const {
    for (int i = 0; i < threads; ++i) phase(backwards ? threads - 1 - i : i);
  }
};

constexpr float unset = std::numeric_limits<float>::quiet_NaN();

template <class Visit>
void each_place(const Plan& plan, const Visit& visit) {
  for (int image = 0; image < plan.sizes.images; ++image)
    for (int tile = 0; tile < plan.tiles; ++tile)
      for (int chunk = 0; chunk < plan.chunks; ++chunk) visit(Place{chunk, tile, image});
}

/// The first two steps, whose shared memory and totals begin as anything.
template <template <class, Layout, int> class Sum, class T, Layout layout, int width, class Finish>
void sum_groups(const Plan& plan, Tensors<T> tensors, bool backwards, const Finish& finish) {
  using Total = typename Sum<T, layout, width>::Total;
  constexpr std::size_t numbers = sizeof(Total) / sizeof(float);
  std::vector<float> totals(
      static_cast<std::size_t>(plan.sizes.images * plan.chunks * plan.sizes.channels) * numbers, unset);
  tensors.totals = totals.data();
  each_place(plan, [&](const Place& place) {
    CpuBlock block{plan.threads(), backwards};
    std::vector<float> shared(static_cast<std::size_t>(plan.threads() * plan.lanes()) * numbers, unset);
    sum_channels<Sum, T, layout, width>(block, plan, place, tensors, reinterpret_cast<Total*>(shared.data()));
  });
  for (int image = 0; image < plan.sizes.images; ++image)
    for (int group = 0; group < plan.sizes.groups; ++group) {
      CpuBlock block{64, backwards};
      std::vector<float> shared(64 * numbers, unset);
      merge_group(block, plan, image, group, block.threads, tensors.totals,
                  reinterpret_cast<Total*>(shared.data()), finish);
    }
}

/// Both ways through a frozen norm.
template <class T, Layout layout, int width>
Result emulate(const Case& test, bool backwards) {
  const auto& x = test.x;
  const Plan plan =
      make_plan(layout, {x.size(0), x.size(1), x.size(2) * x.size(3), test.groups}, test.silu, width);
  REQUIRE(plan.threads() <= most_threads);
  const auto statistics = at::full({x.size(0), test.groups}, unset);
  Result result{at::full_like(x, unset), statistics.clone(), statistics.clone(), at::full_like(x, unset)};
  std::vector<float> sums(static_cast<std::size_t>(2 * statistics.numel()), unset);
  Tensors<T> tensors{.x = x.const_data_ptr<T>(),
                     .weight = test.weight.const_data_ptr<T>(),
                     .bias = test.bias.const_data_ptr<T>(),
                     .gradient = test.dy.const_data_ptr<T>(),
                     .result = result.y.mutable_data_ptr<T>(),
                     .mean = result.mean.mutable_data_ptr<float>(),
                     .rstd = result.rstd.mutable_data_ptr<float>(),
                     .sums = sums.data(),
                     .totals = nullptr};
  const CpuBlock block{plan.threads(), backwards};
  sum_groups<SumMoments, T, layout, width>(
      plan, tensors, backwards, [&](std::int64_t index, const Moments& all) {
        finish_statistics(tensors, index, all, static_cast<float>(test.eps));
      });
  each_place(plan, [&](const Place& place) {
    block.each([&](int thread) { write_values<T, layout, width>(plan, place, thread, tensors); });
  });
  tensors.result = result.dx.mutable_data_ptr<T>();
  sum_groups<SumProducts, T, layout, width>(
      plan, tensors, backwards,
      [&](std::int64_t index, const Products& all) { finish_sums(tensors, index, all, plan.sizes); });
  each_place(plan, [&](const Place& place) {
    block.each([&](int thread) { write_gradient<T, layout, width>(plan, place, thread, tensors); });
  });
  return result;
}

/// As the plugin chooses: in packs of 16 bytes where they fit.
template <class T>
Result emulate(const Case& test, bool backwards) {
  constexpr int widest = 16 / sizeof(T);
  const bool is_planar = test.x.is_contiguous();
  const bool wide = (is_planar ? test.x.size(2) * test.x.size(3) : test.x.size(1)) % widest == 0;
  const auto run =
      is_planar ? (wide ? emulate<T, Layout::planar, widest> : emulate<T, Layout::planar, 1>)
                : (wide ? emulate<T, Layout::channels_last, widest> : emulate<T, Layout::channels_last, 1>);
  return run(test, backwards);
}

Result emulate(const Case& test, bool backwards = false) {
  if (test.x.scalar_type() == at::kFloat) return emulate<float>(test, backwards);
  if (test.x.scalar_type() == at::kHalf) return emulate<c10::Half>(test, backwards);
  return emulate<c10::BFloat16>(test, backwards);
}

}  // namespace

TEST_CASE("The CUDA kernels' arithmetic is group norm's, with SiLU and without", "[kernels]") {
  for (const auto& [dtype, tolerance] : dtypes)
    for (const auto format : {planar, interleaved})
      for (const auto& shape : shapes)
        for (const bool silu : {true, false}) {
          INFO(dtype << " " << format << " " << at::IntArrayRef(shape.sizes) << " silu " << silu);
          const Case test(shape, dtype, format, silu);
          const auto got = emulate(test), expected = reference(test);
          CHECK(distance(got.y, expected.y) < tolerance);
          CHECK(distance(got.mean, expected.mean) < 1e-6);
          CHECK(distance(got.rstd, expected.rstd) < 1e-6);
          CHECK(distance(got.dx, expected.dx) < tolerance);
        }
}

TEST_CASE("The CUDA kernels' statistics keep their digits where the mean is large", "[kernels]") {
  for (const auto format : {planar, interleaved}) {
    const Case test({{1, 24, 40, 50}, 3}, at::kFloat, format, true, /*mean=*/4096, /*spread=*/0.25);
    const auto got = emulate(test), expected = reference(test);
    CHECK(distance(got.rstd, expected.rstd) < 1e-5);
    CHECK(distance(got.y, expected.y) < 1e-3);  // the mean itself has a step of 2^-11
  }
}

TEST_CASE("No phase of the CUDA kernels depends on the order of its threads", "[kernels]") {
  for (const auto format : {planar, interleaved})
    for (const auto& shape : shapes) {
      const Case test(shape, at::kHalf, format, true);
      const auto one = emulate(test), other = emulate(test, /*backwards=*/true);
      CHECK(at::equal(one.y, other.y));
      CHECK(at::equal(one.dx, other.dx));
    }
}

TEST_CASE("The CUDA kernels' blocks share out each number once", "[kernels]") {
  const auto check = []<Layout layout, int width>(const Sizes& sizes) {
    const Plan plan = make_plan(layout, sizes, true, width);
    std::vector<int> visits(static_cast<std::size_t>(sizes.images * sizes.channels * sizes.pixels));
    each_place(plan, [&](const Place& place) {
      for (int thread = 0; thread < plan.threads(); ++thread)
        Share<layout, width>(plan, place, thread).each_pack([&](std::int64_t offset) {
          for (int i = 0; i < width; ++i) ++visits.at(static_cast<std::size_t>(offset + i));
        });
    });
    INFO(sizes.images << " " << sizes.channels << " " << sizes.pixels);
    CHECK(std::ranges::all_of(visits, [](int count) { return count == 1; }));
    CHECK(plan.threads() <= most_threads);
  };
  for (const std::int64_t channels : {8, 64, 520, 1920})
    for (const std::int64_t pixels : {8, 200, 4104}) {
      check.operator()<Layout::planar, 8>({2, channels, pixels, 1});
      check.operator()<Layout::channels_last, 8>({2, channels, pixels, 1});
      check.operator()<Layout::planar, 1>({1, channels + 1, pixels + 1, 1});
      check.operator()<Layout::channels_last, 1>({1, channels + 1, pixels + 1, 1});
    }
}

TEST_CASE("The plugin of CUDA kernels registers the operators that the networks look for", "[kernels]") {
  const auto file = kernels_folder / "libcuda-kernels.so";
  if (!exists(file)) {
    WARN("SKIPPED: " << file << " was not built (there is no CUDA compiler)");
    return;
  }
  // Lazily, so that what it needs of CUDA may be missing.
  void* library = dlopen(file.c_str(), RTLD_LAZY | RTLD_LOCAL);
  INFO((library == nullptr ? dlerror() : ""));
  REQUIRE(library != nullptr);
  const auto entry = reinterpret_cast<const PluginDescriptor* (*)()>(dlsym(library, "reno_plugin"));
  REQUIRE(entry != nullptr);
  reno::detail::check_descriptor(entry());
  Registry registry;
  entry()->install(registry);
  CHECK(nn::find_operator<nn::GroupNormOperator>("reno::group_norm", at::kCUDA));
  CHECK(nn::find_operator<nn::GroupNormBackwardOperator>("reno::group_norm_backward", at::kCUDA));
  CHECK_FALSE(nn::find_operator<nn::GroupNormOperator>("reno::norm", at::kCUDA));
  // Then half precision is channels-last, and kernels that wait on the host lie as the GPU wants them.
  const at::Device gpu(at::kCUDA, 0);
  for (const auto maps : {nn::FeatureMaps::of_denoiser, nn::FeatureMaps::of_decoder}) {
    CHECK(nn::layout_of(maps, gpu, at::kHalf) == interleaved);
    CHECK(nn::layout_of(maps, gpu, at::kFloat) == planar);
  }
  const auto weights = Weights::random(0, at::kCPU, at::kHalf);
  const nn::Conv2d here(weights, 8, 16, 3), there(weights.working_on(gpu), 8, 16, 3);
  CHECK(here.weight.is_contiguous());
  CHECK(there.weight.is_contiguous(interleaved));
  CHECK(at::equal(here.weight, there.weight));
}

TEST_CASE("The CUDA kernels on a GPU give what the networks compute without them", "[kernels][cuda]") {
  const auto found = gpu();
  if (!found) return;
  const auto device = *found;
  Registry registry;
  const auto status = load_kernels(kernels_folder, device.type(), registry);
  if (!status) {
    WARN("SKIPPED: the CUDA kernels were not built");
    return;
  }
  REQUIRE(status->refusal == "");
  for (const auto& [dtype, tolerance] : dtypes)
    for (const auto format : {planar, interleaved})
      for (const auto& shape : shapes)
        for (const bool silu : {true, false}) {
          INFO(dtype << " " << format << " " << at::IntArrayRef(shape.sizes) << " silu " << silu);
          const Case test(shape, dtype, format, silu);
          const auto expected = reference(test);
          const auto leaf = test.x.to(device).requires_grad_();
          const auto y =
              nn::group_norm(leaf, test.weight.to(device), test.bias.to(device), test.groups, test.eps, silu);
          y.backward(test.dy.to(device));
          CHECK(distance(y.detach().cpu(), expected.y) < 2 * tolerance);
          CHECK(distance(leaf.grad().cpu(), expected.dx) < 2 * tolerance);
          CHECK(leaf.grad().strides() == leaf.strides());
        }
  check_decoder(device, at::kHalf, 1e-2);
  check_decoder(device, at::kBFloat16, 4e-2);
}
