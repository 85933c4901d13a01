#include "clip_score.hpp"

#include "reno/plugin.hpp"

RENO_PLUGIN("clip-score", [](reno::Registry& registry) {
  registry.add<reno::ClipScore>("clip-score", "CLIPScore: cosine of image and prompt under CLIP ViT-H/14");
})
