// The device of a run. One build serves machines with and without a GPU: programs link only LibTorch's CPU
// library, and the CUDA library is loaded here, on demand, before anything asks ATen about CUDA (ATen
// remembers that answer for good).
#pragma once

#include <ATen/Context.h>
#include <c10/core/Device.h>
#include <dlfcn.h>
#include <fmt/format.h>
#include <torch/cuda.h>

#include <cstdint>
#include <regex>
#include <string>

#include "reno/error.hpp"

namespace reno {

namespace detail {

/// Has a GPU compute float32 in float32: LibTorch lets cuDNN's convolutions round their factors to TF32's ten
/// bits by default, which is a hundred times what the published numbers are held to here.
inline void use_all_bits_of_float32() {
  at::globalContext().setAllowTF32CuDNN(false);
  at::globalContext().setAllowTF32CuBLAS(false);
}

/// Loads LibTorch's CUDA library; the reason when it cannot be had, "" otherwise.
inline std::string load_cuda() {
  use_all_bits_of_float32();
  if (dlopen("libcuda.so.1", RTLD_LAZY | RTLD_GLOBAL) == nullptr)
    return "this machine has no NVIDIA driver (libcuda.so.1)";
  if (dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) == nullptr) {
    const char* reason = dlerror();
    return fmt::format("LibTorch's CUDA library cannot be loaded ({}); build with RENO_CUDA=1 tools/build",
                       reason != nullptr ? reason : "unknown reason");
  }
  if (!torch::cuda::is_available()) return "the NVIDIA driver sees no usable GPU";
  return "";
}

}  // namespace detail

/// `auto`: the first GPU if there is a usable one, otherwise the CPU. A device that is asked for by name and
/// is not there is a ConfigurationError.
inline c10::Device resolve_device(const std::string& name) {
  if (name == "cpu") return c10::kCPU;
  static const std::regex pattern("auto|cuda(:([0-9]{1,3}))?");
  std::smatch match;
  if (!std::regex_match(name, match, pattern)) {
    throw ConfigurationError(
        fmt::format("run.device = \"{}\" is not a device; use auto, cpu, cuda or cuda:N", name));
  }
  const std::string problem = detail::load_cuda();
  if (name == "auto") return problem.empty() ? c10::Device(c10::kCUDA, 0) : c10::Device(c10::kCPU);
  if (!problem.empty())
    throw ConfigurationError(fmt::format("run.device = \"{}\" is not available: {}", name, problem));
  const int index = match[2].matched ? std::stoi(match[2]) : 0;
  const auto count = static_cast<int>(torch::cuda::device_count());
  if (index >= count) {
    throw ConfigurationError(
        fmt::format("run.device = \"{}\" is not available: this machine has {} GPU{}, numbered from 0", name,
                    count, count == 1 ? "" : "s"));
  }
  return {c10::kCUDA, static_cast<c10::DeviceIndex>(index)};
}

/// The device of one of several processes on this machine that was asked for `name`: they take turns on its
/// usable GPUs, unless the name says which one. Without a GPU, `auto` and `cpu` are the CPU.
inline std::string process_device(const std::string& name, std::int64_t gpus, std::int64_t process) {
  if (name.find(':') != std::string::npos) return name;
  return gpus > 0 && name != "cpu" ? fmt::format("cuda:{}", process % gpus) : "cpu";
}

}  // namespace reno
