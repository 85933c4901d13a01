#include "hpsv2.hpp"

#include "reno/plugin.hpp"

RENO_PLUGIN("hpsv2", [](reno::Registry& registry) {
  registry.add<reno::Hpsv2>("hpsv2", "HPSv2: human preference score, ViT-H/14 trained on people's choices");
})
