#include "sd_turbo.hpp"

#include "reno/plugin.hpp"

RENO_PLUGIN("sd-turbo", [](reno::Registry& registry) {
  registry.add<reno::SdTurbo>("sd-turbo", "SD-Turbo: Stable Diffusion 2.1 distilled to one step, 512x512");
})
