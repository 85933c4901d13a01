// What a plugin includes: the contracts, the registry and the entry point. A plugin is one shared library;
// the host reads `reno_plugin()`, compares magic, API version and build fingerprint before it calls anything
// else, and then passes its registry in. Nothing registers itself from a static constructor, and a library is
// never unloaded.
//
//     RENO_PLUGIN("my-reward", [](reno::Registry& registry) { registry.add<MyReward>("my-reward", "What
//     --list shows."); })
#pragma once

#include <torch/version.h>

#include <cstdint>

#include "reno/registry.hpp"

namespace reno {

/// Changes whenever a type that crosses the boundary changes (Registry, Context, Option, handles,
/// PluginDescriptor).
inline constexpr std::uint32_t plugin_api_version = 2;

inline constexpr std::uint64_t plugin_magic = 0x4f4e455250474e31;

/// Everything that must agree for C++ objects to cross the boundary: LibTorch, the compiler's major version,
/// the standard library's ABI.
inline constexpr const char* build_fingerprint =
#define RENO_DETAIL_TEXT(x) #x
#define RENO_DETAIL_VALUE(x) RENO_DETAIL_TEXT(x)
    "libtorch " TORCH_VERSION
    ", "
#if defined(__clang__)
    "clang " RENO_DETAIL_VALUE(__clang_major__)
#else
    "g++ " RENO_DETAIL_VALUE(__GNUC__)
#endif
        ", c++ abi " RENO_DETAIL_VALUE(__GXX_ABI_VERSION) ", cxx11 strings " RENO_DETAIL_VALUE(
            _GLIBCXX_USE_CXX11_ABI);
#undef RENO_DETAIL_VALUE
#undef RENO_DETAIL_TEXT

/// The plain struct behind the entry point. `magic`, `api_version` and `fingerprint` keep their places in all
/// versions.
struct PluginDescriptor {
  std::uint64_t magic;
  std::uint32_t api_version;
  const char* fingerprint;
  const char* name;
  void (*install)(Registry&);
};

}  // namespace reno

/// Defines the entry point. `install` is a captureless lambda or a function `void(reno::Registry&)`.
#define RENO_PLUGIN(plugin_name, ...)                                                                     \
  extern "C" RENO_EXPORT const reno::PluginDescriptor* reno_plugin() {                                    \
    static const reno::PluginDescriptor descriptor = {reno::plugin_magic, reno::plugin_api_version,       \
                                                      reno::build_fingerprint, plugin_name, __VA_ARGS__}; \
    return &descriptor;                                                                                   \
  }
