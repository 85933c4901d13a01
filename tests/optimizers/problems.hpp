// Classic test problems with known minima, and tools to run an optimizer on them. A problem is evaluated
// image by image, so its values do not depend on what else is in the batch.
#pragma once

#include <ATen/ATen.h>

#include <cmath>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "reno/concepts.hpp"
#include "reno/context.hpp"
#include "reno/optimizers/builtin.hpp"

namespace reno::test {

/// Loss (0-dim) and gradient at one image's noise.
using Function = std::function<std::pair<at::Tensor, at::Tensor>(const at::Tensor& x)>;

struct Problem {
  std::string name;
  at::Tensor start;    ///< one image
  at::Tensor minimum;  ///< where it is smallest
  Function function;
};

/// The objective of a batch, counting its calls.
inline Evaluate batched(Function function, std::int64_t* calls = nullptr) {
  return [function = std::move(function), calls](const at::Tensor& noise) {
    std::vector<at::Tensor> losses, gradients;
    for (const auto& x : noise.unbind(0)) {
      auto [loss, gradient] = function(x.contiguous());
      losses.push_back(loss);
      gradients.push_back(gradient);
    }
    if (calls) ++*calls;
    return Evaluation{at::stack(losses), at::stack(gradients)};
  };
}

/// x'Ax/2 - b'x + quartic sum(x^4), A symmetric.
inline Function quartic_bowl(at::Tensor a, at::Tensor b, double quartic) {
  return [=](const at::Tensor& x) {
    const at::Tensor ax = at::mv(a, x);
    return std::pair(0.5 * at::dot(x, ax) - at::dot(b, x) + quartic * x.pow(4).sum(),
                     ax - b + 4.0 * quartic * x.pow(3));
  };
}

/// The same quadratic in every direction; the minimum is 3 everywhere.
inline Problem quadratic(std::vector<std::int64_t> shape = {4, 2, 2}) {
  return {"quadratic", at::ones(shape, at::kDouble).mul_(-1.0), at::full(shape, 3.0, at::kDouble),
          [](const at::Tensor& x) { return std::pair(0.5 * (x - 3.0).square().sum(), x - 3.0); }};
}

/// sum(c_i x_i^2) / 2 with c from 1 to `condition`.
inline Problem ill_conditioned(double condition = 1e4) {
  const at::Tensor c = at::logspace(0.0, std::log10(condition), 8, 10.0, at::kDouble);
  return {"ill-conditioned", at::ones({8}, at::kDouble), at::zeros({8}, at::kDouble),
          [c](const at::Tensor& x) { return std::pair(0.5 * (c * x.square()).sum(), c * x); }};
}

/// Rosenbrock's valley (The Computer Journal, 1960).
inline Problem rosenbrock() {
  return {"Rosenbrock", at::tensor({-1.2, 1.0}, at::kDouble), at::ones({2}, at::kDouble),
          [](const at::Tensor& p) {
            const double x = p[0].item<double>(), y = p[1].item<double>(), bend = y - x * x;
            return std::pair(at::scalar_tensor(100.0 * bend * bend + (1.0 - x) * (1.0 - x), p.options()),
                             at::tensor({-400.0 * x * bend - 2.0 * (1.0 - x), 200.0 * bend}, p.options()));
          }};
}

inline double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

/// Evaluates and steps, as the loop does.
template <class AnyOptimizer>
void run(AnyOptimizer& optimizer, at::Tensor& noise, const Evaluate& evaluate, int steps) {
  for (int i = 0; i < steps; ++i) optimizer.step(noise, evaluate(noise), evaluate);
}

}  // namespace reno::test
