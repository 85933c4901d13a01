#include "torchscript.hpp"

#include "reno/plugin.hpp"

RENO_PLUGIN("torchscript", [](reno::Registry& registry) {
  registry.add<reno::TorchScriptReward>(
      "torchscript",
      "Any module that PyTorch scripted or traced, pixels and text to scores; such a file is a program");
})
