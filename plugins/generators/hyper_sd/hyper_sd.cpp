#include "hyper_sd.hpp"

#include "reno/plugin.hpp"

RENO_PLUGIN("hyper-sd", [](reno::Registry& registry) {
  registry.add<reno::HyperSd>("hyper-sd", "Hyper-SDXL: SDXL distilled to one step, 1024x1024");
})
