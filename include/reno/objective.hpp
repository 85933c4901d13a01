// What is minimised over the noise of N images, and its gradient taken in stages.
//
//     total_i = sum_k weight_k * (ceiling_k - score_k(preprocess(G(z_i, p_i)), p_i)),     loss_i = total_i +
//     regulariser(z_i)
//
// The graph is a chain, so the gradient is a chain of vector-Jacobian products: each reward's graph is freed
// before the next one is built, and memory stays at the generator's graph plus the largest reward's. (Eyring
// et al., ReNO, NeurIPS 2024, section 3.)
#pragma once

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "reno/component.hpp"
#include "reno/regularizer.hpp"
#include "reno/stage_clock.hpp"

namespace reno {

/// One reward in the objective. With weight 0 it is monitored: scored and reported, never differentiated.
struct WeightedReward {
  std::string name;
  double weight = 1.0;
  AnyReward reward;
};

/// The prompts of one batch as each model encoded them, once.
struct EncodedPrompts {
  OpaqueValue conditioning;
  std::vector<OpaqueValue> features;  ///< one per reward
};

/// The objective at one point. All tensors are detached and live on the device; values are in the noise's
/// dtype.
struct Measurement {
  at::Tensor images;               ///< (N,3,H,W) in [0,1]
  std::vector<at::Tensor> scores;  ///< per reward: (N)
  std::vector<at::Tensor>
      gradient_norms;  ///< per reward: (N), 2-norm of d(weight * loss) / d pixels; 0 where none was taken
  at::Tensor total;    ///< (N), weighted losses without the regulariser
  at::Tensor norm;     ///< (N), of the noise
  at::Tensor regularization;  ///< (N)
  at::Tensor gradient;        ///< like the noise, of total + regularization; undefined when not asked for

  Evaluation evaluation() const { return {total + regularization, gradient}; }
};

/// Does pieces of work that do not depend on each other, in any order, and so that a device may do them at
/// the same time. What follows on the device follows after all of them.
using SideBySide = std::function<void(const std::vector<std::function<void()>>&)>;

/// One after another, which takes the least memory.
inline void in_order(const std::vector<std::function<void()>>& pieces) {
  for (const auto& piece : pieces) piece();
}

/// A generator, rewards and the regulariser's weight, as one function of the noise.
class Objective {
 public:
  /// clock: may be null.
  Objective(AnyGenerator generator, std::vector<WeightedReward> rewards, double regularization,
            std::shared_ptr<StageClock> clock = nullptr)
      : generator_(std::move(generator)),
        rewards_(std::move(rewards)),
        regularization_(regularization),
        clock_(std::move(clock)) {
    find_black_box();
  }

  /// Another objective of the same models. weights: one per reward.
  void reweigh(const std::vector<double>& weights, double regularization) {
    for (std::size_t k = 0; k < rewards_.size(); ++k) rewards_[k].weight = weights.at(k);
    regularization_ = regularization;
    find_black_box();
  }

  const AnyGenerator& generator() const { return generator_; }
  const std::vector<WeightedReward>& rewards() const { return rewards_; }

  /// Where the stages of a measurement are marked; may be null.
  const std::shared_ptr<StageClock>& clock() const { return clock_; }

  /// The name of a weighted reward that has no gradient, if there is one: the objective can then be measured
  /// but not differentiated.
  const std::optional<std::string>& black_box() const { return black_box_; }

  /// Runs every text encoder once.
  EncodedPrompts encode(const Prompts& prompts) const {
    const at::NoGradGuard no_grad;
    EncodedPrompts encoded;
    encoded.conditioning = generator_.encode(prompts);
    for (const auto& term : rewards_) encoded.features.push_back(term.reward.encode(prompts));
    return encoded;
  }

  /// noise: (N, ...) float32 (float64 in a float64 run). The gradient is taken only when asked for; without
  /// it no graph is built. `rewards` does the work of those that see the same pixels.
  Measurement measure(const at::Tensor& noise, const EncodedPrompts& prompts, bool with_gradient,
                      const SideBySide& rewards = in_order) const {
    const at::AutoGradMode grad_mode(with_gradient);
    const at::Tensor leaf = noise.detach().requires_grad_(with_gradient);
    const at::Tensor images = generator_.generate(leaf, prompts.conditioning);
    mark_stage(clock_, "generate");
    return measure_images(noise, leaf, images, prompts, with_gradient, rewards);
  }

  /// The images themselves, where `measure` goes by the generator's previews; without a gradient.
  Measurement measure_finished(const at::Tensor& noise, const EncodedPrompts& prompts) const {
    const at::NoGradGuard no_grad;
    return measure_images(noise, {}, generator_.finish(noise, prompts.conditioning), prompts, false,
                          in_order);
  }

  /// Images that were made otherwise, in several steps say: images, scores and total only, without any graph.
  Measurement judge(const at::Tensor& images, const EncodedPrompts& prompts) const {
    const at::NoGradGuard no_grad;
    Measurement result;
    result.images = images.detach();
    const auto precision = images.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    result.total = at::zeros({images.size(0)}, images.options().dtype(precision));
    measure_rewards(result, prompts, /*with_gradient=*/false, in_order);
    return result;
  }

 private:
  /// images: of `leaf`, which is the noise, with their graph where a gradient is wanted.
  Measurement measure_images(const at::Tensor& noise, const at::Tensor& leaf, const at::Tensor& images,
                             const EncodedPrompts& prompts, bool with_gradient,
                             const SideBySide& side_by_side) const {
    Measurement result;
    result.images = images.detach();
    result.total = at::zeros({noise.size(0)}, noise.options());
    const at::Tensor image_gradient = measure_rewards(result, prompts, with_gradient, side_by_side);

    const Regularization prior = regularize(noise.detach(), regularization_);
    result.norm = prior.norm;
    result.regularization = prior.value;
    if (with_gradient) {
      result.gradient = prior.gradient;
      if (image_gradient.defined()) {
        result.gradient = result.gradient + product(images, leaf, image_gradient.to(images.scalar_type()));
        mark_stage(clock_, "generate backward");
      }
    }
    return result;
  }

  void find_black_box() {
    black_box_.reset();
    for (const auto& [name, weight, reward] : rewards_) {
      if (weight != 0.0 && !reward.differentiable()) black_box_ = name;
    }
  }

  /// Vector-Jacobian product: d<output, cotangent> / d input; frees the graph of `output`.
  static at::Tensor product(const at::Tensor& output, const at::Tensor& input, const at::Tensor& cotangent) {
    return torch::autograd::grad({output}, {input}, {cotangent}, /*retain_graph=*/false)[0];
  }

  /// Fills scores and total; returns the cotangent of the images (undefined without gradient or without
  /// weighted rewards).
  at::Tensor measure_rewards(Measurement& result, const EncodedPrompts& prompts, bool with_gradient,
                             const SideBySide& side_by_side) const {
    result.scores.resize(rewards_.size());
    result.gradient_norms.assign(rewards_.size(), at::zeros_like(result.total));
    at::Tensor image_gradient;
    for (const Preprocess& spec : distinct_preprocesses()) {
      const at::Tensor image_leaf = result.images.detach().requires_grad_(with_gradient);
      const at::Tensor pixels = preprocess(image_leaf, spec);
      mark_stage(clock_, "preprocess");
      std::vector<at::Tensor> gradients(rewards_.size());
      std::vector<std::function<void()>> pieces;
      for (std::size_t k = 0; k < rewards_.size(); ++k) {
        if (!(rewards_[k].reward.preprocess() == spec)) continue;
        pieces.emplace_back([&, k] {
          gradients[k] = measure_reward(result, k, pixels.detach(), prompts.features[k], with_gradient);
        });
      }
      side_by_side(pieces);
      at::Tensor pixel_gradient;
      for (const at::Tensor& gradient : gradients)
        if (gradient.defined())
          pixel_gradient = pixel_gradient.defined() ? pixel_gradient + gradient : gradient;
      if (!pixel_gradient.defined()) continue;
      const at::Tensor gradient = product(pixels, image_leaf, pixel_gradient);
      mark_stage(clock_, "preprocess backward");
      image_gradient = image_gradient.defined() ? image_gradient + gradient : gradient;
    }
    for (std::size_t k = 0; k < rewards_.size(); ++k)
      result.total = result.total + rewards_[k].weight * (rewards_[k].reward.ceiling() - result.scores[k]);
    return image_gradient;
  }

  /// Scores one reward and returns d(weight * loss) / d pixels, if it is part of the objective.
  at::Tensor measure_reward(Measurement& result, std::size_t k, const at::Tensor& pixels,
                            const OpaqueValue& features, bool with_gradient) const {
    const auto& [name, weight, reward] = rewards_[k];
    const bool differentiate = with_gradient && weight != 0.0;
    const at::AutoGradMode grad_mode(differentiate);
    const at::Tensor leaf = pixels.detach().requires_grad_(differentiate);
    const at::Tensor score = reward.score(leaf, features);
    mark_stage(clock_, name);
    result.scores[k] = score.detach().to(result.total.scalar_type());
    if (!differentiate) return {};
    if (!score.requires_grad())
      throw ConfigurationError(fmt::format(
          "the score of reward '{}' has no gradient with respect to the pixels: give it weight = 0 to "
          "monitor it, or use run.mode = \"best-of-n\"",
          name));
    const at::Tensor gradient = product(score, leaf, at::full_like(score, -weight));
    result.gradient_norms[k] =
        at::linalg_vector_norm(gradient.flatten(1).to(result.total.scalar_type()), 2, {1});
    mark_stage(clock_, name + " backward");
    return gradient;
  }

  std::vector<Preprocess> distinct_preprocesses() const {
    std::vector<Preprocess> specs;
    for (const auto& term : rewards_) {
      const Preprocess spec = term.reward.preprocess();
      if (std::find(specs.begin(), specs.end(), spec) == specs.end()) specs.push_back(spec);
    }
    return specs;
  }

  AnyGenerator generator_;
  std::vector<WeightedReward> rewards_;
  double regularization_;
  std::shared_ptr<StageClock> clock_;
  std::optional<std::string> black_box_;
};

}  // namespace reno
