// Rehearses a run without loading anything: components are built on the device `meta`, where tensors have
// shapes and no data. Missing or misshapen weights come to light, and the allocations of one whole iteration
// are added up as a real device would see them.
#pragma once

#include <cstdint>

#include "reno/nn/meta_kernels.hpp"
#include "reno/run/context.hpp"
#include "reno/run/memory.hpp"
#include "reno/run/prompts.hpp"

namespace reno {

/// Bytes of tensors; what LibTorch itself and its libraries' scratch space take comes on top.
struct MemoryEstimate {
  std::int64_t weights = 0;  ///< that stay on the device; in the memory mode `lean` others come and go
  std::int64_t peak = 0;     ///< of one iteration and of a step of `[refine]`, weights included
};

/// context: as for the run itself; its device is replaced. Throws what the run would throw while loading. For
/// programs only: meta tensors are counted for the rest of the process.
inline MemoryEstimate rehearse(const Experiment& experiment, const Registry& registry, Context context) {
  register_meta_kernels();
  MetaMemory& memory = MetaMemory::install();
  const std::int64_t others = memory.live();
  memory.forget_peak();
  context.device = c10::kMeta;
  const Objective objective = load_objective(experiment, registry, context);
  make_optimizer(experiment, registry, context);
  MemoryEstimate estimate;
  estimate.weights = memory.live() - others;

  Prompts prompts;
  PromptReader reader(experiment);
  while (std::ssize(prompts) < experiment.run.batch) {
    const auto item = reader.next();
    if (!item) break;
    prompts.push_back(item->text);
  }
  const EncodedPrompts encoded = objective.encode(prompts);
  auto shape = objective.generator().noise_shape();
  shape.insert(shape.begin(), std::ssize(prompts));
  const at::Tensor noise = at::empty(shape, at::TensorOptions(context.device).dtype(context.master_dtype()));
  objective.measure(noise, encoded, experiment.run.mode == Mode::optimize);
  if (objective.generator().previews()) objective.measure_finished(noise, encoded);
  const auto& refine = experiment.refine;
  if (refine.steps > 0) objective.generator().refine(noise, encoded.conditioning, 1, refine.guidance);
  estimate.peak = memory.peak() - others;
  return estimate;
}

}  // namespace reno
