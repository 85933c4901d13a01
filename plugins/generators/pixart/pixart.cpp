#include "pixart.hpp"

#include "reno/plugin.hpp"

RENO_PLUGIN("pixart", [](reno::Registry& registry) {
  registry.add<reno::PixArt>("pixart", "PixArt-α distilled to one step by DMD, 512x512");
})
