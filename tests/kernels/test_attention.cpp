// The CPU's attention of bfloat16.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/autograd.h>

#include <catch2/catch.hpp>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "reno/nn/attention.hpp"
#include "reno/plugin_loader.hpp"

namespace reno::test::of_attention {

namespace {

struct Shape {
  std::int64_t images, heads, queries, keys, width;
};

// Odd numbers of everything; one query, one key; several blocks, panels and tiles, the last ones not full;
// heads wider than a panel; a product deeper than one is done in; more heads than are held at once.
const std::vector<Shape> shapes = {{2, 3, 5, 7, 6},       {1, 2, 1, 1, 2},      {1, 4, 257, 257, 80},
                                   {2, 1, 70, 1100, 64},  {1, 2, 1100, 77, 64}, {1, 1, 130, 200, 512},
                                   {1, 3, 2100, 4096, 16}};

/// Projected inputs; keys and values are parts of one tensor, as a fused projection has them.
struct Case {
  at::Tensor query, key, value, gradient;
  std::int64_t heads;

  explicit Case(const Shape& shape) : heads(shape.heads) {
    at::manual_seed(0);
    const auto channels = shape.heads * shape.width;
    const auto make = [&](std::int64_t length, std::int64_t parts) {
      return (at::randn({shape.images, length, parts * channels}) * 1.5).to(at::kBFloat16);
    };
    query = make(shape.queries, 1);
    const auto fused = make(shape.keys, 2).chunk(2, -1);
    key = fused[0];
    value = fused[1];
    gradient = make(shape.queries, 1);
  }
};

struct Result {
  at::Tensor output, query, key, value;
};

Result differentiate(const Case& test, at::ScalarType dtype, const nn::AttentionOptions& options = {}) {
  const auto leaf = [&](const at::Tensor& x) { return x.to(dtype).detach().requires_grad_(); };
  const auto query = leaf(test.query), key = leaf(test.key), value = leaf(test.value);
  const auto output = nn::attention(query, key, value, test.heads, options);
  const auto gradients = torch::autograd::grad({output}, {query, key, value}, {test.gradient.to(dtype)});
  return {output.detach(), gradients[0], gradients[1], gradients[2]};
}

double distance(const at::Tensor& got, const at::Tensor& expected) {
  return ((got.to(at::kDouble) - expected).norm() / expected.norm()).item<double>();
}

bool equal(const Result& a, const Result& b) {
  return at::equal(a.output, b.output) && at::equal(a.query, b.query) && at::equal(a.key, b.key) &&
         at::equal(a.value, b.value);
}

/// Whether this processor has the operator.
bool load() {
  static const auto status = [] {
    Registry registry;
    return load_kernels(RENO_BUILD_DIR "/lib/reno/kernels", at::kCPU, registry);
  }();
  REQUIRE(status);
  REQUIRE(status->refusal == "");
  const bool has = nn::find_operator<nn::AttentionOperator>("reno::attention", at::kCPU).has_value();
  if (!has) WARN("SKIPPED: this processor does not multiply bfloat16, attention is LibTorch's");
  return has;
}

}  // namespace

TEST_CASE("The CPU's attention of bfloat16 and its gradients come near those of float64", "[kernels]") {
  if (!load()) return;
  for (const auto& shape : shapes)
    for (const auto scale : {std::optional<double>(), std::optional<double>(0.05)}) {
      INFO(shape.images << " " << shape.heads << " " << shape.queries << " " << shape.keys << " "
                        << shape.width << (scale ? " with a scale" : ""));
      const Case test(shape);
      nn::AttentionOptions options;
      options.scale = scale;
      const auto got = differentiate(test, at::kBFloat16, options);
      const auto expected = differentiate(test, at::kDouble, options);
      CHECK(distance(got.output, expected.output) < 5e-3);
      CHECK(distance(got.value, expected.value) < 5e-3);
      if (shape.keys == 1) continue;  // the others are zero
      CHECK(distance(got.query, expected.query) < 5e-3);
      CHECK(distance(got.key, expected.key) < 5e-3);
    }
}

TEST_CASE("The CPU's attention: images are independent, and so are numbers of threads", "[kernels]") {
  if (!load()) return;
  const Case test({2, 3, 90, 70, 24});
  const auto both = differentiate(test, at::kBFloat16);
  const int threads = at::get_num_threads();
  at::set_num_threads(threads == 1 ? 3 : 1);
  CHECK(equal(differentiate(test, at::kBFloat16), both));
  at::set_num_threads(threads);
  for (const std::int64_t n : {0, 1}) {
    Case one = test;
    for (auto* x : {&one.query, &one.key, &one.value, &one.gradient}) *x = x->narrow(0, n, 1);
    const auto part = [&](const at::Tensor& x) { return x.narrow(0, n, 1); };
    CHECK(equal(differentiate(one, at::kBFloat16),
                {part(both.output), part(both.query), part(both.key), part(both.value)}));
  }
}

TEST_CASE("The CPU's attention: keys that want no gradient get none", "[kernels]") {
  if (!load()) return;
  const Case test({1, 2, 45, 77, 8});
  const auto query = test.query.detach().requires_grad_();
  const auto output = nn::attention(query, test.key, test.value, test.heads);
  const auto gradient = torch::autograd::grad({output}, {query}, {test.gradient})[0];
  const auto all = differentiate(test, at::kBFloat16);
  CHECK(at::equal(output.detach(), all.output));
  CHECK(at::equal(gradient, all.query));
  CHECK(at::equal(nn::attention(test.query, test.key, test.value, test.heads), all.output));
}

TEST_CASE("The CPU's attention: what is no number stays none", "[kernels]") {
  if (!load()) return;
  for (const double bad :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    Case test({1, 1, 40, 40, 8});
    test.query[0][3][2] = bad;
    const auto got = differentiate(test, at::kBFloat16);
    CHECK(got.output[0][3].isnan().all().item<bool>());
    CHECK(got.query[0][3].isnan().all().item<bool>());
    CHECK_FALSE(got.output[0][4].isnan().any().item<bool>());
    CHECK(got.key.isnan().all().item<bool>());
  }
}

TEST_CASE("The CPU's attention leaves to LibTorch what it was not made for", "[kernels]") {
  if (!load()) return;
  const Case test({1, 2, 10, 12, 8});
  const auto taken = [](const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, std::int64_t heads,
                        const nn::AttentionOptions& options = {}) {
    return nn::detail::find_attention(q, k, v, heads, options).has_value();
  };
  const auto &q = test.query, &k = test.key, &v = test.value;
  CHECK(taken(q, k, v, 2));
  CHECK_FALSE(taken(q, k, v, 16));  // of odd width
  CHECK_FALSE(taken(q, k, v, 2, {.mask = at::zeros({10, 12})}));
  CHECK_FALSE(taken(q, k, v, 2, {.causal = true}));
  for (const auto dtype : {at::kFloat, at::kHalf})
    CHECK_FALSE(taken(q.to(dtype), k.to(dtype), v.to(dtype), 2));
  const auto apart = at::zeros({1, 16, 12}, at::TensorOptions(at::kBFloat16)).transpose(1, 2);
  CHECK_FALSE(taken(q, apart, v, 2));

  const auto fused = nn::find_operator<nn::AttentionOperator>("reno::attention", at::kCPU);
  CHECK_THROWS_AS(fused->call(q, k, v, 3, 1.0), c10::Error);
  CHECK_THROWS_AS(fused->call(q, k, v.narrow(1, 0, 5), 2, 1.0), c10::Error);
  CHECK_THROWS_AS(fused->call(q.to(at::kFloat), k, v, 2, 1.0), c10::Error);
}

}  // namespace reno::test::of_attention
