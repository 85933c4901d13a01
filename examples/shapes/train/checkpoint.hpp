// A training can be stopped at any time: every so often its whole state goes into one safetensors file, from
// which it continues with the same numbers.
#pragma once

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "reno/error.hpp"
#include "reno/io/safetensors.hpp"
#include "shapes/train/optimizer.hpp"

namespace reno::shapes {

/// `plan` says in words what is trained; only the same plan continues.
inline void save_checkpoint(const std::filesystem::path& file, const Optimizer& optimizer,
                            const std::string& plan) {
  std::filesystem::create_directories(file.parent_path());
  write_safetensors(file, optimizer.state(), {{"plan", plan}, {"steps", std::to_string(optimizer.steps())}});
}

/// Continues from `file`. Throws LoadError for the checkpoint of another plan.
inline void load_checkpoint(const std::filesystem::path& file, Optimizer& optimizer,
                            const std::string& plan) {
  const c10::NoGradGuard no_grad;
  const auto source = open_safetensors(file);
  const auto& metadata = source->metadata();
  if (!metadata.contains("plan") || metadata.at("plan") != plan)
    throw LoadError(
        fmt::format("{}: is the checkpoint of another training ({}), not of this one ({}); name another "
                    "folder with --checkpoints, or remove it",
                    file.string(), metadata.contains("plan") ? metadata.at("plan") : "unknown", plan));
  for (auto& [name, tensor] : optimizer.state()) {
    const auto stored = source->read(name);
    if (stored.sizes() != tensor.sizes())
      throw LoadError(
          fmt::format("{}: tensor \"{}\" has another shape than this program's", file.string(), name));
    tensor.copy_(stored);
  }
  optimizer.set_steps(std::stoll(metadata.at("steps")));
}

}  // namespace reno::shapes
