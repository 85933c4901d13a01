#include "cuda_graph.hpp"

#include <ATen/cuda/CUDAGraph.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>

#include <cstddef>
#include <functional>
#include <vector>

namespace reno::kernels {

namespace {

class CudaGraph final : public DeviceGraph {
 public:
  /// The device is current; streams other than the default are what CUDA records.
  explicit CudaGraph(c10::Device device)
      : stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device.index())) {}

  /// Before, memory that plain work has left is given back: the graph's comes from a pool of its own. Other
  /// threads, which save images say, may go on using the device meanwhile.
  void record(const std::function<void()>& work) override {
    const c10::StreamGuard guard(stream_);
    c10::cuda::device_synchronize();
    c10::getDeviceAllocator(c10::kCUDA)->emptyCache();
    graph_.capture_begin(/*pool=*/{0, 0}, cudaStreamCaptureModeThreadLocal);
    try {
      work();
    } catch (...) {
      give_up();
      throw;
    }
    graph_.capture_end();
  }

  /// On a stream for each piece. Tensors may go to and fro between streams without further care: a stream
  /// goes on using its memory only after the recording stream has waited for all pieces, and the next ones
  /// for it.
  void side_by_side(const std::vector<std::function<void()>>& pieces) override {
    const auto recording = c10::cuda::getCurrentCUDAStream();
    c10::Event start(c10::kCUDA);
    start.record(recording);
    std::vector<c10::Event> ends;
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      if (i == streams_.size())
        streams_.push_back(c10::cuda::getStreamFromPool(/*isHighPriority=*/false, recording.device_index()));
      const c10::StreamGuard guard(streams_[i]);
      start.block(streams_[i]);
      pieces[i]();
      ends.emplace_back(c10::kCUDA).record(streams_[i]);
    }
    for (auto& end : ends) end.block(recording);
  }

  void replay() override { graph_.replay(); }

 private:
  /// The stream must not go on recording. What was recorded is of no use, so how its end went is not told.
  void give_up() noexcept {
    try {
      graph_.capture_end();
    } catch (...) {
    }
  }

  c10::cuda::CUDAStream stream_;
  std::vector<c10::cuda::CUDAStream> streams_;  ///< of pieces that are done side by side
  at::cuda::CUDAGraph graph_;
};

}  // namespace

std::unique_ptr<DeviceGraph> make_cuda_graph(c10::Device device) {
  const c10::DeviceGuard guard(device);
  return std::make_unique<CudaGraph>(device);
}

}  // namespace reno::kernels
