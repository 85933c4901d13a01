// The built plugins, as every experiment finds them, and a context that says nothing.
#pragma once

#include <spdlog/sinks/null_sink.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <memory>
#include <string>

#include "reno/nn/operator.hpp"
#include "reno/optimizers/builtin.hpp"
#include "reno/plugin_loader.hpp"
#include "reno/run/context.hpp"
#include "support/gpu.hpp"

namespace reno::test {

/// Loaded once, with reno's own operators unless RENO_TEST_KERNELS=0 (see CMakeLists.txt). No plugin of this
/// build may be refused.
inline const Registry& plugin_registry() {
  static const Registry loaded = [] {
    Registry all;
    register_builtin_optimizers(all);
    for (const auto& plugin : load_plugins({RENO_BUILD_DIR "/lib/reno/plugins"}, all)) {
      INFO(plugin.refusal);
      CHECK(plugin.refusal.empty());
    }
    const char* wanted = std::getenv("RENO_TEST_KERNELS");
    if (wanted != nullptr && wanted == std::string("0")) {
      CHECK(nn::own_operators(at::kCPU).empty());
      return all;
    }
    for (const auto device : devices())
      if (const auto kernels = load_kernels(RENO_BUILD_DIR "/lib/reno/kernels", device.type(), all)) {
        INFO(kernels->refusal);
        CHECK(kernels->refusal.empty());
      }
    return all;
  }();
  return loaded;
}

inline Context quiet_context(const Experiment& experiment) {
  return make_context(
      experiment, c10::kCPU,
      std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::null_sink_mt>()));
}

}  // namespace reno::test
