// CUDA graphs, as the core asks for them (reno/device_graph.hpp).
#pragma once

#include <c10/core/Device.h>

#include <memory>

#include "reno/device_graph.hpp"

namespace reno::kernels {

std::unique_ptr<DeviceGraph> make_cuda_graph(c10::Device device);

}  // namespace reno::kernels
