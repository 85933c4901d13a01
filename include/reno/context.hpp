// What a component may know of the run it works for. It is passed in; nothing is looked up by a global.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>
#include <spdlog/logger.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

#include "reno/stage_clock.hpp"

namespace reno {

/// Trades memory for speed. `fast` keeps everything on the device and every activation; `balanced` releases
/// the prompt's encoders once it is encoded, and recomputes the denoiser's activations; `lean` keeps
/// all components on the host but while they work, and a generator's stages forget all that is between their
/// way forwards and the way back.
enum class MemoryMode { fast, balanced, lean };

/// Whether a denoiser's blocks are computed again on the way back.
inline bool recompute_denoiser(MemoryMode memory) { return memory != MemoryMode::fast; }

/// The same of a decoder, which does most of an iteration's work, and whose graph holds little: the inputs of
/// its norms.
inline bool recompute_decoder(MemoryMode memory) { return memory == MemoryMode::lean; }

struct Context {
  c10::Device device = c10::kCPU;
  c10::ScalarType dtype =
      c10::kFloat;  ///< of the networks; noise, losses and norms stay float32 (float64 in a float64 run)
  MemoryMode memory = MemoryMode::balanced;
  std::uint64_t seed = 0;
  std::vector<std::filesystem::path> search_paths;  ///< where relative weights paths are looked for, in order
  std::shared_ptr<spdlog::logger> log;              ///< never null in a run
  std::shared_ptr<StageClock> clock;                ///< null: nobody asks where the time goes

  /// The dtype of noise, losses, norms and the regulariser: float32, or float64 when the networks are
  /// float64.
  c10::ScalarType master_dtype() const { return dtype == c10::kDouble ? c10::kDouble : c10::kFloat; }
};

}  // namespace reno
