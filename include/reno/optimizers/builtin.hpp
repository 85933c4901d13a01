// The optimizers that come with the core; a program registers them like any plugin's.
#pragma once

#include "reno/optimizers/adam.hpp"
#include "reno/optimizers/lbfgs.hpp"
#include "reno/optimizers/sgd.hpp"
#include "reno/registry.hpp"

namespace reno {

inline void register_builtin_optimizers(Registry& registry) {
  registry.add<SGD>("sgd", "Gradient descent with Nesterov momentum and a clipped gradient; ReNO's own.");
  registry.add<Adam>("adam", "Adam with a clipped gradient: a step size of its own for every element.");
  registry.add<LBFGS>("lbfgs", "Quasi-Newton steps with a line search; many evaluations per iteration.");
}

}  // namespace reno
