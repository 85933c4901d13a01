#include "flux_schnell.hpp"

#include "reno/plugin.hpp"

RENO_PLUGIN("flux-schnell", [](reno::Registry& registry) {
  registry.add<reno::FluxSchnell>(
      "flux-schnell",
      "FLUX.1 schnell: a rectified-flow transformer of 12 billion parameters, in one to four steps");
})
