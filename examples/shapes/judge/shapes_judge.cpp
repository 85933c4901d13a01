#include "shapes/judge/shapes_judge.hpp"

#include "reno/plugin.hpp"

RENO_PLUGIN("shapes-judge", [](reno::Registry& registry) {
  registry.add<reno::shapes::ShapesJudge>(
      "shapes-judge", "Whether a picture of the shapes world shows its prompt; no network, only watched");
})
