#include "aesthetic.hpp"

#include "reno/plugin.hpp"

RENO_PLUGIN("aesthetic", [](reno::Registry& registry) {
  registry.add<reno::Aesthetic>("aesthetic",
                                "LAION aesthetic predictor on CLIP ViT-L/14; ignores the prompt");
})
