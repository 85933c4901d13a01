// How much memory a run took, or would take.
#pragma once

#include <c10/core/Allocator.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/Device.h>
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <string>

namespace reno {

/// The most memory in use so far: of the process on a CPU, of the device's allocator otherwise.
inline std::int64_t peak_memory(c10::Device device) {
  if (device.is_cpu()) {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return static_cast<std::int64_t>(usage.ru_maxrss) * 1024;
  }
  const auto stats = c10::getDeviceAllocator(device.type())->getDeviceStats(device.index());
  return stats.allocated_bytes[static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE)].peak;
}

/// "1.23 GiB", "45.6 MiB".
inline std::string format_bytes(std::int64_t bytes) {
  const auto value = static_cast<double>(bytes);
  return value >= 1 << 30 ? fmt::format("{:.2f} GiB", value / (1 << 30))
                          : fmt::format("{:.1f} MiB", value / (1 << 20));
}

/// Counts what tensors on the device `meta` would take. Such tensors have a shape and no data, so a whole
/// iteration can be rehearsed without loading anything: every allocation that a real device would see passes
/// through here.
class MetaMemory final : public c10::Allocator {
 public:
  /// Replaces the allocator of meta tensors for the rest of the process. For programs only.
  static MetaMemory& install() {
    static MetaMemory memory;
    c10::SetAllocator(c10::kMeta, &memory, /*priority=*/1);
    return memory;
  }

  std::int64_t live() const { return live_; }
  /// The most that was live at once since the last call of `forget_peak`.
  std::int64_t peak() const { return peak_; }
  void forget_peak() { peak_ = live_; }

  c10::DataPtr allocate(std::size_t bytes) override {
    live_ += static_cast<std::int64_t>(bytes);
    peak_ = std::max<std::int64_t>(peak_, live_);
    return {nullptr, new Block{this, static_cast<std::int64_t>(bytes)}, &release, c10::Device(c10::kMeta)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return nullptr; }
  void copy_data(void*, const void*, std::size_t) const override {}

 private:
  struct Block {
    MetaMemory* owner;
    std::int64_t bytes;
  };

  static void release(void* context) {
    const auto* block = static_cast<Block*>(context);
    block->owner->live_ -= block->bytes;
    delete block;
  }

  std::atomic<std::int64_t> live_ = 0;
  std::int64_t peak_ = 0;
};

}  // namespace reno
