// The GPU, for tests of numbers: they run on the CPU everywhere, and again where there is a GPU.
#pragma once

#include <ATen/core/Tensor.h>

#include <catch2/catch.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "reno/run/device.hpp"

namespace reno::test {

namespace detail {

/// Why there is no GPU, "" if there is one. Found out before `main`: programs link LibTorch's CPU library
/// alone, ATen remembers whether it had CUDA when it was first asked, and autograd makes a thread per device
/// when it is first used.
inline const std::string no_gpu = reno::detail::load_cuda();

}  // namespace detail

/// The first GPU; nothing, with a warning that says why, once in a test case, where there is none.
inline std::optional<at::Device> gpu() {
  if (detail::no_gpu.empty()) return at::Device(at::kCUDA, 0);
  static std::set<std::string> warned;
  if (warned.insert(Catch::getResultCapture().getCurrentTestName()).second)
    WARN("SKIPPED on a GPU: " << detail::no_gpu);
  return std::nullopt;
}

/// The CPU, and the first GPU if there is one.
inline std::vector<at::Device> devices() {
  std::vector<at::Device> all{at::kCPU};
  if (const auto device = gpu()) all.push_back(*device);
  return all;
}

/// A tolerance that was measured on the CPU, as it is on `device`: a GPU sums in another order, and its
/// convolutions (Winograd's) round several times as much.
inline double on_device(double tolerance, at::Device device) {
  return device.is_cpu() ? tolerance : 5 * tolerance;
}

/// What a deviation is of, for the list that the program prints in the end.
inline std::string on_device(const std::string& quantity, at::Device device) {
  return device.is_cpu() ? quantity : quantity + " on a GPU";
}

}  // namespace reno::test
