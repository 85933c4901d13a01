// The CPU's operators for channels-last feature maps.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <catch2/catch.hpp>

#include "kernels/reference.hpp"
#include "reno/io/checkpoint.hpp"
#include "reno/nn/group_norm.hpp"
#include "reno/plugin_loader.hpp"
#include "support/golden.hpp"

namespace {

using namespace reno;
using namespace reno::test;

void load_cpu_kernels() {
  static const auto status = [] {
    Registry registry;
    return load_kernels(kernels_folder, at::kCPU, registry);
  }();
  REQUIRE(status);
  REQUIRE(status->refusal == "");
}

/// By the function that the networks call.
Result through_network(const Case& test) {
  const auto leaf = test.x.detach().requires_grad_();
  const auto y = nn::group_norm(leaf, test.weight, test.bias, test.groups, test.eps, test.silu);
  y.backward(test.dy);
  return {y.detach(), {}, {}, leaf.grad()};
}

}  // namespace

TEST_CASE("The CPU's operators are group norm, with SiLU and without", "[kernels]") {
  load_cpu_kernels();
  for (const auto& [dtype, tolerance] : dtypes)
    for (const auto& shape : shapes)
      for (const bool silu : {true, false}) {
        INFO(dtype << " " << at::IntArrayRef(shape.sizes) << " silu " << silu);
        const Case test(shape, dtype, interleaved, silu);
        if (test.x.is_contiguous()) continue;  // a single pixel has no layout
        const auto got = through_network(test), expected = reference(test);
        CHECK(distance(got.y, expected.y) < tolerance);
        CHECK(distance(got.dx, expected.dx) < tolerance);
        CHECK(got.y.strides() == test.x.strides());
        CHECK(got.dx.strides() == test.x.strides());
        const auto [y, mean, rstd] = nn::find_operator<nn::GroupNormOperator>("reno::group_norm", at::kCPU)
                                         ->call(test.x, test.weight, test.bias, test.groups, test.eps, silu);
        CHECK(at::equal(y, nn::group_norm(test.x, test.weight, test.bias, test.groups, test.eps, silu)));
        CHECK(distance(mean, expected.mean) < 1e-6);
        CHECK(distance(rstd, expected.rstd) < 1e-6);
      }
}

TEST_CASE("The CPU's statistics keep their digits where the mean is large", "[kernels]") {
  load_cpu_kernels();
  const Case test({{1, 24, 40, 50}, 3}, at::kFloat, interleaved, true, /*mean=*/4096, /*spread=*/0.25);
  const auto got = through_network(test), expected = reference(test);
  CHECK(distance(got.y, expected.y) < 5e-3);  // the mean itself and the shift have a step of 2^-11
}

TEST_CASE("The CPU's group norm is the same for any number of threads", "[kernels]") {
  load_cpu_kernels();
  const Case test({{2, 48, 40, 50}, 8}, at::kFloat, interleaved, true);
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const auto one = through_network(test);
  at::set_num_threads(3);
  const auto three = through_network(test);
  at::set_num_threads(threads);
  CHECK(at::equal(one.y, three.y));
  CHECK(at::equal(one.dx, three.dx));
}

TEST_CASE("The CPU's group norm takes extreme numbers and shows what is not a number", "[kernels]") {
  load_cpu_kernels();
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    Case test({{1, 32, 8, 8}, 4}, dtype, interleaved, true);
    test.weight.fill_(100);
    const auto got = through_network(test), expected = reference(test);
    CHECK(at::isfinite(got.dx).all().item<bool>());
    CHECK(distance(got.y, expected.y) < 1e-2);
    test.x[0][9][3][3] = std::numeric_limits<float>::quiet_NaN();
    const auto broken = through_network(test);
    CHECK(at::isnan(broken.y.narrow(1, 8, 8)).all().item<bool>());
    CHECK(at::isnan(broken.dx.narrow(1, 8, 8)).all().item<bool>());
    CHECK(at::isfinite(broken.y.narrow(1, 16, 16)).all().item<bool>());
  }
}

TEST_CASE("A decoder whose feature maps are channels-last is the same decoder", "[kernels]") {
  load_cpu_kernels();
  check_decoder(at::kCPU, at::kFloat, 1e-5);
  check_decoder(at::kCPU, at::kBFloat16, 4e-2);
}

TEST_CASE("A decoder whose feature maps are channels-last agrees with diffusers", "[kernels][goldens]") {
  load_cpu_kernels();
  for (const auto& golden : goldens("generators/sd-turbo")) {
    const auto folder = golden.folder / "model/vae";
    const nn::AutoencoderKLDecoder decoder(
        Weights(open_checkpoint(folder, "diffusion_pytorch_model"), at::kCPU, at::kFloat),
        nn::AutoencoderKLConfig(Config::read(folder / "config.json")));
    check_to_largest(golden.name + " channels-last decoder_out", decoder(golden["one_step.decoder_in"]),
                     golden["one_step.decoder_out"], 1e-5);
  }
}

TEST_CASE("On the CPU a denoiser's feature maps are planar, and kernels stay as they are", "[kernels]") {
  load_cpu_kernels();
  CHECK(nn::layout_of(nn::FeatureMaps::of_denoiser, at::kCPU, at::kFloat) == planar);
  CHECK(nn::layout_of(nn::FeatureMaps::of_decoder, at::kCPU, at::kDouble) == planar);
  CHECK(nn::layout_of(nn::FeatureMaps::of_decoder, at::kMeta, at::kFloat) == planar);
  CHECK(nn::kernel_layout(at::kCPU, at::kFloat) == planar);
}

TEST_CASE("The CPU's operators refuse what they were not made for", "[kernels]") {
  load_cpu_kernels();
  const auto group_norm = *nn::find_operator<nn::GroupNormOperator>("reno::group_norm", at::kCPU);
  const auto x = at::ones({1, 8, 2, 2}), parameter = at::ones({8});
  CHECK_THROWS_WITH(group_norm.call(x, parameter, parameter, 3, 1e-5, true),
                    Catch::Contains("has no 3 groups"));
  CHECK_THROWS_WITH(group_norm.call(x.to(at::kDouble), parameter, parameter, 4, 1e-5, true),
                    Catch::Contains("got Double"));
  CHECK_THROWS_WITH(group_norm.call(x, at::ones({7}), parameter, 4, 1e-5, true),
                    Catch::Contains("one number per channel"));
}
