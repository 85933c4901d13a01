#include "pickscore.hpp"

#include "reno/plugin.hpp"

RENO_PLUGIN("pickscore", [](reno::Registry& registry) {
  registry.add<reno::PickScore>("pickscore",
                                "PickScore: CLIP ViT-H/14 trained on people's choices between images");
})
