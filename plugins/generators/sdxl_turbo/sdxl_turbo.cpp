#include "sdxl_turbo.hpp"

#include "reno/plugin.hpp"

RENO_PLUGIN("sdxl-turbo", [](reno::Registry& registry) {
  registry.add<reno::SdxlTurbo>("sdxl-turbo", "SDXL-Turbo: SDXL distilled to one step, 512x512");
})
