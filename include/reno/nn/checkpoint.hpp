// Gradient checkpointing (Chen et al. 2016, arXiv:1604.06174): a part of a network that keeps its inputs
// instead of its activations and computes itself again when the gradient comes by. One more forward pass buys
// the memory of all that lies between.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/core/ivalue.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

namespace reno::nn {

/// A part of a network as a function of the tensors that may want a gradient. It holds what else it needs,
/// and gives the same outputs whenever it is called.
using Block = std::function<std::vector<at::Tensor>(const std::vector<at::Tensor>&)>;

/// Sees to it that what a block needs, such as its weights, is there as long as what this returns lives.
using Presence = std::function<std::shared_ptr<void>()>;

namespace detail {

struct BlockHolder : torch::CustomClassHolder {
  BlockHolder(Block run, Presence presence) : run(std::move(run)), presence(std::move(presence)) {}
  std::shared_ptr<void> present() const { return presence ? presence() : nullptr; }
  Block run;
  Presence presence;  ///< may be empty
};

class Checkpoint : public torch::autograd::Function<Checkpoint> {
 public:
  using Variables = torch::autograd::variable_list;

  static Variables forward(torch::autograd::AutogradContext* context,
                           const c10::intrusive_ptr<BlockHolder>& block, at::TensorList inputs) {
    context->save_for_backward(inputs.vec());
    context->set_materialize_grads(false);
    context->saved_data["block"] = c10::IValue::make_capsule(block);
    const auto present = block->present();
    return block->run(inputs.vec());
  }

  static Variables backward(torch::autograd::AutogradContext* context, Variables gradients) {
    const auto block =
        c10::static_intrusive_pointer_cast<BlockHolder>(context->saved_data["block"].toCapsule());
    const auto present = block->present();
    Variables leaves;
    for (const auto& input : context->get_saved_variables())
      leaves.push_back(input.detach().requires_grad_(input.requires_grad()));
    Variables outputs, wanted, cotangents;
    {
      const at::AutoGradMode with_graph(true);
      outputs = block->run(leaves);
    }
    Variables roots;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      if (!gradients[i].defined() || !outputs[i].requires_grad()) continue;
      roots.push_back(outputs[i]);
      cotangents.push_back(gradients[i]);
    }
    for (const auto& leaf : leaves)
      if (leaf.requires_grad()) wanted.push_back(leaf);
    auto found = torch::autograd::grad(roots, wanted, cotangents, /*retain_graph=*/false,
                                       /*create_graph=*/false, /*allow_unused=*/true);
    Variables result{at::Tensor{}};  // the block itself has none
    std::size_t next = 0;
    for (const auto& leaf : leaves) result.push_back(leaf.requires_grad() ? found[next++] : at::Tensor{});
    return result;
  }
};

}  // namespace detail

/// What `block` makes of its inputs. `recompute`: without its activations, which come again on the way back;
/// the numbers are the same. `presence`: asked before each run; on the way back it covers the products, too.
inline std::vector<at::Tensor> checkpoint(bool recompute, const std::vector<at::Tensor>& inputs,
                                          const Block& block, const Presence& presence = {}) {
  const auto wants = [](const at::Tensor& input) { return input.requires_grad(); };
  if (recompute && at::GradMode::is_enabled() && std::any_of(inputs.begin(), inputs.end(), wants))
    return detail::Checkpoint::apply(c10::make_intrusive<detail::BlockHolder>(block, presence),
                                     at::TensorList(inputs));
  const auto present = presence ? presence() : nullptr;
  return block(inputs);
}

/// The same for a block from one tensor to one.
template <class Run>
at::Tensor checkpoint(bool recompute, const at::Tensor& input, const Run& run) {
  return checkpoint(recompute, std::vector{input}, [run](const std::vector<at::Tensor>& inputs) {
    return std::vector<at::Tensor>{run(inputs.front())};
  })[0];
}

}  // namespace reno::nn
