// The host's side of plugins: finds shared libraries, refuses those that do not fit with a sentence that says
// got, expected and what to do, and lets the others install themselves into the registry. One bad plugin
// never stops the host or hides the rest.
#pragma once

#include <c10/core/DeviceType.h>
#include <fmt/format.h>

#include <algorithm>
#include <boost/dll/shared_library.hpp>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "reno/plugin.hpp"

namespace reno {

/// What became of one library that was found.
struct PluginStatus {
  std::filesystem::path file;
  std::string name;     ///< as the plugin calls itself; empty if it could not be asked
  std::string refusal;  ///< empty when it was installed, otherwise one sentence
};

namespace detail {

/// The linker's own words, without what Boost.DLL says around them.
inline std::string linker_message(std::string message) {
  constexpr std::string_view before = "dlerror system message: ";
  const auto start = message.find(before);
  const auto end = message.rfind("): ");
  if (start == std::string::npos || end == std::string::npos) return message;
  return message.substr(start + before.size(), end - start - before.size());
}

/// Opens a library for good: an exception or an object of a plugin may outlive every other use of it.
inline const boost::dll::shared_library& open_forever(const std::filesystem::path& file) {
  static auto& opened = *new std::vector<boost::dll::shared_library*>;
  using boost::dll::load_mode::rtld_local;
  using boost::dll::load_mode::rtld_now;
  try {
    opened.push_back(new boost::dll::shared_library(file.string(), rtld_now | rtld_local));
  } catch (const boost::system::system_error& error) {
    throw LoadError(linker_message(error.what()));
  }
  return *opened.back();
}

/// Throws LoadError unless the descriptor fits this host. Nothing of the plugin has been called but its entry
/// point.
inline void check_descriptor(const PluginDescriptor* descriptor) {
  if (descriptor == nullptr || descriptor->magic != plugin_magic) {
    throw LoadError("its reno_plugin() does not return a plugin description: define it with RENO_PLUGIN");
  }
  if (descriptor->api_version != plugin_api_version) {
    throw LoadError(fmt::format(
        "it has plugin API version {}, this program has {}: rebuild the plugin against this version of reno",
        descriptor->api_version, plugin_api_version));
  }
  if (std::string(descriptor->fingerprint) != build_fingerprint) {
    throw LoadError(
        fmt::format("it was built with [{}], this program with [{}]: rebuild the plugin with the same "
                    "LibTorch and compiler",
                    descriptor->fingerprint, build_fingerprint));
  }
}

inline void install(const PluginDescriptor& descriptor, const std::filesystem::path& file,
                    Registry& registry) {
  registry.set_origin(file.string());
  try {
    descriptor.install(registry);
  } catch (...) {
    registry.remove_from(file.string());
    throw;
  }
}

}  // namespace detail

/// Loads one library into the registry; never throws for a bad plugin.
inline PluginStatus load_plugin(const std::filesystem::path& file, Registry& registry) {
  PluginStatus status{file, "", ""};
  try {
    const auto& library = detail::open_forever(file);
    if (!library.has("reno_plugin")) {
      throw LoadError("it has no entry point reno_plugin(): define it with RENO_PLUGIN");
    }
    const PluginDescriptor* descriptor = library.get<const PluginDescriptor*()>("reno_plugin")();
    detail::check_descriptor(descriptor);
    status.name = descriptor->name;
    detail::install(*descriptor, file, registry);
  } catch (const std::exception& error) {
    status.refusal = fmt::format("{}: plugin refused: {}", file.string(), error.what());
  }
  return status;
}

/// Loads every `*.so` of the directories, in order of directory and file name. A directory that does not
/// exist holds no plugins.
inline std::vector<PluginStatus> load_plugins(const std::vector<std::filesystem::path>& directories,
                                              Registry& registry) {
  std::vector<PluginStatus> plugins;
  for (const auto& directory : directories) {
    std::vector<std::filesystem::path> files;
    std::error_code error;
    for (const auto& item : std::filesystem::directory_iterator(directory, error)) {
      if (item.path().extension() == ".so") files.push_back(std::filesystem::weakly_canonical(item.path()));
    }
    std::ranges::sort(files);
    for (const auto& file : files) {
      if (std::ranges::find(plugins, file, &PluginStatus::file) == plugins.end())
        plugins.push_back(load_plugin(file, registry));
    }
  }
  return plugins;
}

/// Loads reno's own operators for a device, which fill no registry but LibTorch's (nn/operator.hpp), from
/// `directory` (`lib/reno/kernels`). Nothing, where there are none.
inline std::optional<PluginStatus> load_kernels(const std::filesystem::path& directory,
                                                c10::DeviceType device, Registry& registry) {
  const auto file =
      directory / fmt::format("lib{}-kernels.so", c10::DeviceTypeName(device, /*lower_case=*/true));
  if (!std::filesystem::exists(file)) return std::nullopt;
  return load_plugin(file, registry);
}

}  // namespace reno
