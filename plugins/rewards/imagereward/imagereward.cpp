#include "imagereward.hpp"

#include "reno/plugin.hpp"

RENO_PLUGIN("imagereward", [](reno::Registry& registry) {
  registry.add<reno::ImageReward>("imagereward", "ImageReward: BLIP trained on rankings by people");
})
