// Work on a device that is recorded once and then done again as one piece: what a GPU waits for between
// hundreds of small kernels, their launches by the host, is gone. Only CUDA graphs are known to be such;
// their implementation is in plugins/kernels/cuda, since the core is compiled without CUDA.
#pragma once

#include <c10/core/Device.h>

#include <functional>
#include <memory>
#include <vector>

namespace reno {

class DeviceGraph {
 public:
  DeviceGraph() = default;
  DeviceGraph(const DeviceGraph&) = delete;
  DeviceGraph& operator=(const DeviceGraph&) = delete;
  virtual ~DeviceGraph() = default;

  /// Calls `work` to record what it asks of the device. Nothing has been computed when this returns: tensors
  /// that were made have their places, and get their values when it is replayed. `work` must have been done
  /// before without a recording, wait for nothing, and fetch nothing from pageable host memory. Throws what
  /// `work` throws, and c10::Error when it did what cannot be recorded; the graph is of no use then.
  virtual void record(const std::function<void()>& work) = 0;

  /// Within `record`: does pieces of work that do not depend on each other so that replays may do them at the
  /// same time. What is recorded next follows after all of them.
  virtual void side_by_side(const std::vector<std::function<void()>>& pieces) = 0;

  /// Queues the recorded work: it reads its inputs from and writes its results to where they lay when it was
  /// recorded.
  virtual void replay() = 0;
};

/// Makes an empty graph for a device.
using MakeDeviceGraph = std::function<std::unique_ptr<DeviceGraph>(c10::Device)>;

}  // namespace reno
