// Compiles, links and runs against the packaged core: headers are found, LibTorch computes.
#include <ATen/ATen.h>

#include <cstdio>
#include <reno/error.hpp>

int main() {
  try {
    const auto norm = at::ones({4, 4}).norm().item<double>();
    std::printf("norm of sixteen ones: %g\n", norm);
    if (norm != 4.0) throw reno::RunError("LibTorch computed a wrong norm");
  } catch (const reno::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.code());
  }
}
