// The run-time side of the concepts: one small type-erased handle per kind, so that the loop is compiled once
// and components come from plugins. A handle owns its component; conditioning and prompt features travel as
// opaque values.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "reno/concepts.hpp"
#include "reno/error.hpp"

namespace reno {

/// A component's own value (encoded prompts), opaque to the core.
using OpaqueValue = std::shared_ptr<const void>;

/// Owns a generator of any type; see the concept `Generator`.
class AnyGenerator {
 public:
  template <Generator G>
  explicit AnyGenerator(std::unique_ptr<G> generator)
      : impl_(std::make_unique<Model<G>>(std::move(generator))) {}

  std::vector<std::int64_t> noise_shape() const { return impl_->noise_shape(); }
  OpaqueValue encode(const Prompts& prompts) const { return impl_->encode(prompts); }
  at::Tensor generate(const at::Tensor& noise, const OpaqueValue& conditioning) const {
    return impl_->generate(noise, conditioning);
  }
  /// Whether `generate` makes previews and `finish` the images.
  bool previews() const { return impl_->previews(); }
  /// The images themselves; those of `generate` where that makes no previews.
  at::Tensor finish(const at::Tensor& noise, const OpaqueValue& conditioning) const {
    return impl_->finish(noise, conditioning);
  }
  bool can_refine() const { return impl_->can_refine(); }
  /// Throws ConfigurationError when the generator has no multi-step sampler.
  at::Tensor refine(const at::Tensor& noise, const OpaqueValue& conditioning, std::int64_t steps,
                    double guidance) const {
    return impl_->refine(noise, conditioning, steps, guidance);
  }

 private:
  struct Interface {
    virtual ~Interface() = default;
    virtual std::vector<std::int64_t> noise_shape() = 0;
    virtual OpaqueValue encode(const Prompts&) = 0;
    virtual at::Tensor generate(const at::Tensor&, const OpaqueValue&) = 0;
    virtual bool previews() = 0;
    virtual at::Tensor finish(const at::Tensor&, const OpaqueValue&) = 0;
    virtual bool can_refine() = 0;
    virtual at::Tensor refine(const at::Tensor&, const OpaqueValue&, std::int64_t, double) = 0;
  };

  template <class G>
  struct Model final : Interface {
    using Conditioning = typename G::Conditioning;
    explicit Model(std::unique_ptr<G> generator) : generator(std::move(generator)) {}

    static const Conditioning& conditioning(const OpaqueValue& value) {
      return *static_cast<const Conditioning*>(value.get());
    }
    std::vector<std::int64_t> noise_shape() override { return generator->noise_shape(); }
    OpaqueValue encode(const Prompts& prompts) override {
      return std::make_shared<const Conditioning>(generator->encode(prompts));
    }
    at::Tensor generate(const at::Tensor& noise, const OpaqueValue& value) override {
      return generator->generate(noise, conditioning(value));
    }
    bool previews() override {
      if constexpr (PreviewingGenerator<G>) {
        return generator->previews();
      } else {
        return false;
      }
    }
    at::Tensor finish(const at::Tensor& noise, const OpaqueValue& value) override {
      if constexpr (PreviewingGenerator<G>) {
        return generator->finish(noise, conditioning(value));
      } else {
        return generate(noise, value);
      }
    }
    bool can_refine() override { return RefiningGenerator<G>; }
    at::Tensor refine([[maybe_unused]] const at::Tensor& noise, [[maybe_unused]] const OpaqueValue& value,
                      [[maybe_unused]] std::int64_t steps, [[maybe_unused]] double guidance) override {
      if constexpr (RefiningGenerator<G>) {
        return generator->refine(noise, conditioning(value), steps, guidance);
      } else {
        throw ConfigurationError("this generator has no multi-step sampler: it cannot refine");
      }
    }

    std::unique_ptr<G> generator;
  };

  std::unique_ptr<Interface> impl_;
};

/// Owns a reward of any type; see the concept `Reward`.
class AnyReward {
 public:
  template <Reward R>
  explicit AnyReward(std::unique_ptr<R> reward) : impl_(std::make_unique<Model<R>>(std::move(reward))) {}

  OpaqueValue encode(const Prompts& prompts) const { return impl_->encode(prompts); }
  Preprocess preprocess() const { return impl_->preprocess(); }
  at::Tensor score(const at::Tensor& pixels, const OpaqueValue& features) const {
    return impl_->score(pixels, features);
  }
  double ceiling() const { return impl_->ceiling(); }
  bool differentiable() const { return impl_->differentiable(); }

 private:
  struct Interface {
    virtual ~Interface() = default;
    virtual OpaqueValue encode(const Prompts&) = 0;
    virtual Preprocess preprocess() = 0;
    virtual at::Tensor score(const at::Tensor&, const OpaqueValue&) = 0;
    virtual double ceiling() = 0;
    virtual bool differentiable() = 0;
  };

  template <class R>
  struct Model final : Interface {
    using PromptFeatures = typename R::PromptFeatures;
    explicit Model(std::unique_ptr<R> reward) : reward(std::move(reward)) {}

    OpaqueValue encode(const Prompts& prompts) override {
      return std::make_shared<const PromptFeatures>(reward->encode(prompts));
    }
    Preprocess preprocess() override { return reward->preprocess(); }
    at::Tensor score(const at::Tensor& pixels, const OpaqueValue& features) override {
      return reward->score(pixels, *static_cast<const PromptFeatures*>(features.get()));
    }
    double ceiling() override { return reward->ceiling; }
    bool differentiable() override { return is_differentiable<R>; }

    std::unique_ptr<R> reward;
  };

  std::unique_ptr<Interface> impl_;
};

/// Owns an optimizer of any type; see the concept `Optimizer`.
class AnyOptimizer {
 public:
  template <Optimizer O>
  explicit AnyOptimizer(std::unique_ptr<O> optimizer)
      : impl_(std::make_unique<Model<O>>(std::move(optimizer))) {}

  void step(at::Tensor& noise, const Evaluation& evaluation, const Evaluate& evaluate) {
    impl_->step(noise, evaluation, evaluate);
  }
  std::vector<at::Tensor> state() const { return impl_->state(); }
  void restore(const std::vector<at::Tensor>& state) { impl_->restore(state); }

 private:
  struct Interface {
    virtual ~Interface() = default;
    virtual void step(at::Tensor&, const Evaluation&, const Evaluate&) = 0;
    virtual std::vector<at::Tensor> state() = 0;
    virtual void restore(const std::vector<at::Tensor>&) = 0;
  };

  template <class O>
  struct Model final : Interface {
    explicit Model(std::unique_ptr<O> optimizer) : optimizer(std::move(optimizer)) {}
    void step(at::Tensor& noise, const Evaluation& evaluation, const Evaluate& evaluate) override {
      optimizer->step(noise, evaluation, evaluate);
    }
    std::vector<at::Tensor> state() override { return optimizer->state(); }
    void restore(const std::vector<at::Tensor>& state) override { optimizer->restore(state); }

    std::unique_ptr<O> optimizer;
  };

  std::unique_ptr<Interface> impl_;
};

}  // namespace reno
