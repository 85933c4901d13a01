// The three contracts. A component is any type that satisfies one of these concepts; it is checked where it
// is registered (registry.hpp), and from there on lives behind the small type-erased handles of
// component.hpp.
//
//     noise z --> Generator.generate(z, conditioning) --> images (N,3,H,W) in [0,1] --> preprocess -->
//     Reward.score(pixels, features) --> (N)
//                          ^ ^
//       conditioning = Generator.encode(prompts), once                                    features =
//       Reward.encode(prompts), once
#pragma once

#include <ATen/core/Tensor.h>

#include <concepts>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "reno/image/preprocess.hpp"

namespace reno {

// A context's device may be `meta` (a dry run): components are then built and run on tensors that have a
// shape and no data, so `encode`, `generate` and `score` must not read values back from device tensors (no
// `.item()`): that would also cost a synchronisation on a GPU.

/// One string per image of the batch, UTF-8.
using Prompts = std::vector<std::string>;

/// A frozen one-step text-to-image model.
///
/// - `Conditioning`: the model's own type for encoded prompts; a value that owns its tensors.
/// - `noise_shape()`: sizes of one image's noise without the batch, for example {4, 64, 64}.
/// - `encode(prompts)`: run once per batch of N prompts, never inside the loop; no gradient.
/// - `generate(noise, conditioning)`: noise (N, ...) in float32 (the master copy; the model converts it) ->
/// images (N,3,H,W) in [0,1], in the
///   model's dtype; differentiable in `noise`. Image i depends on noise i and prompt i only.
template <class G>
concept Generator = requires(G generator, const Prompts& prompts, const at::Tensor& noise) {
  typename G::Conditioning;
  { generator.noise_shape() } -> std::convertible_to<std::vector<std::int64_t>>;
  { generator.encode(prompts) } -> std::same_as<typename G::Conditioning>;
  {
    generator.generate(noise, std::declval<const typename G::Conditioning&>())
    } -> std::convertible_to<at::Tensor>;
};

/// How a generator's multi-step images are published; what `[refine]` says goes before it.
struct PublishedRefinement {
  std::int64_t steps;
  double guidance;
  bool by_base;  ///< by a larger model, which the experiment names: without one there is no such default
};

/// Optional part of a generator: several sampling steps from the optimised noise, without gradient. A static
/// member `published_refinement` of the type above gives `[refine]` its defaults.
template <class G>
concept RefiningGenerator = Generator<G> && requires(G generator, const at::Tensor& noise) {
  {
    generator.refine(noise, std::declval<const typename G::Conditioning&>(), std::int64_t{}, double{})
    } -> std::convertible_to<at::Tensor>;
};

/// Optional part of a generator whose `generate` may make mere previews, by a smaller decoder, where its
/// options say so.
///
/// - `previews()`: whether it does.
/// - `finish(noise, conditioning)`: the images themselves; no gradient.
template <class G>
concept PreviewingGenerator = Generator<G> && requires(G generator, const at::Tensor& noise) {
  { generator.previews() } -> std::convertible_to<bool>;
  {
    generator.finish(noise, std::declval<const typename G::Conditioning&>())
    } -> std::convertible_to<at::Tensor>;
};

/// A model of human preference.
///
/// - `PromptFeatures`: the model's own type for encoded prompts; a value that owns its tensors.
/// - `encode(prompts)`: run once per batch of N prompts; no gradient.
/// - `preprocess()`: the pixels it wants; rewards with equal wishes share them.
/// - `score(pixels, features)`: pixels (N,3,size,size) normalised -> (N), higher is better, in the model's
/// published units; score i depends on
///   pixels i and prompt i only. Differentiable in `pixels` unless the type says `static constexpr bool
///   differentiable = false`.
/// - `ceiling`: the constant that turns a score into the published loss, `loss = ceiling - score`; a member,
/// static or not.
/// - `default_weight` (optional, 1): the reward's weight in the objective when the experiment does not say.
template <class R>
concept Reward = requires(R reward, const Prompts& prompts, const at::Tensor& pixels) {
  typename R::PromptFeatures;
  { reward.encode(prompts) } -> std::same_as<typename R::PromptFeatures>;
  { reward.preprocess() } -> std::convertible_to<Preprocess>;
  {
    reward.score(pixels, std::declval<const typename R::PromptFeatures&>())
    } -> std::convertible_to<at::Tensor>;
  { reward.ceiling } -> std::convertible_to<double>;
};

/// Whether gradients flow through a reward's score; true unless the type says otherwise.
template <class R>
inline constexpr bool is_differentiable = [] {
  if constexpr (requires { R::differentiable; }) {
    return static_cast<bool>(R::differentiable);
  } else {
    return true;
  }
}();

/// The objective at one point: what an optimizer minimises.
struct Evaluation {
  at::Tensor loss;      ///< (N), weighted reward losses + regulariser, float32
  at::Tensor gradient;  ///< like the noise, d loss_i / d noise_i, float32, not clipped
};

/// Evaluates the objective at other noise of the same shape; each call costs a forward and a backward pass
/// over the batch.
using Evaluate = std::function<Evaluation(const at::Tensor& noise)>;

/// An optimizer over the noise of N independent images.
///
/// - `step(noise, evaluation, evaluate)`: gets the gradient at `noise` (N, ...) and moves `noise` in place;
/// may ask for more evaluations
///   (line search). All state is per image, so a batch is N independent optimisations.
/// - `state()`: tensors that, with the noise, continue the optimisation bit for bit; `restore(state)` puts
/// them back.
template <class O>
concept Optimizer = requires(O optimizer, at::Tensor& noise, const Evaluation& evaluation,
                             const Evaluate& evaluate) {
  optimizer.step(noise, evaluation, evaluate);
  { optimizer.state() } -> std::convertible_to<std::vector<at::Tensor>>;
  optimizer.restore(std::declval<const std::vector<at::Tensor>&>());
};

}  // namespace reno
