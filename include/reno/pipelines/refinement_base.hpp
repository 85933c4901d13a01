// The multi-step model that refines what a one-step model's noise has become.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "reno/error.hpp"
#include "reno/io/pretrained.hpp"

namespace reno {

/// `Pipeline` has the configuration of its UNet. It is loaded when it is needed, after the optimisation of
/// the first batch, and takes no memory of the device from that of the others: in every memory mode its
/// weights wait on the host, and each network visits the device for its part of a refinement. What is wrong
/// with its files is said at once.
template <class Pipeline>
class RefinementBase {
 public:
  /// Makes the pipeline from a model directory.
  using Open = std::function<Pipeline(const Pretrained& model, const Context& context)>;

  /// `weights` as for Pretrained; empty: there is no such model. `variant`: the one-step model's, which this
  /// one may not have. `channels`: of the latents that it will get.
  RefinementBase(std::filesystem::path weights, std::string variant, const Context& context,
                 std::int64_t channels, Open open)
      : weights_(std::move(weights)),
        variant_(std::move(variant)),
        context_(context),
        open_(std::move(open)) {
    context_.memory = MemoryMode::lean;
    if (weights_.empty()) return;
    Context rehearsal = context_;  // on the meta device nothing is read but names and shapes
    rehearsal.device = c10::kMeta;
    rehearsal.log = nullptr;
    const Pretrained files(weights_, variant_, rehearsal, Variant::preferred);
    const Pipeline pipeline = open_(files, rehearsal);
    if (pipeline.config.unet.in_channels != channels)
      throw LoadError(fmt::format("{}: denoises latents of {} channels, but the one-step model's have {}",
                                  files.folder().string(), pipeline.config.unet.in_channels, channels));
  }

  explicit operator bool() const { return !weights_.empty(); }

  /// Loads it the first time.
  const Pipeline& operator*() {
    if (!pipeline_)
      pipeline_.emplace(open_(Pretrained(weights_, variant_, context_, Variant::preferred), context_));
    return *pipeline_;
  }

 private:
  std::filesystem::path weights_;
  std::string variant_;
  Context context_;
  Open open_;
  std::optional<Pipeline> pipeline_;
};

}  // namespace reno
