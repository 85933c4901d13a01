// CLIP checkpoints of open_clip and of OpenAI's own package (their names are the same), presented under the
// names of transformers, so that one CLIPModel serves all: query, key and value become views of the fused
// in_proj, projections are transposed, everything else is renamed. The sizes follow from the tensors.
#pragma once

#include <ATen/core/Tensor.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "reno/error.hpp"
#include "reno/io/config.hpp"
#include "reno/io/tensor_source.hpp"
#include "reno/nn/clip_config.hpp"

namespace reno::nn {

/// An open_clip or OpenAI checkpoint under transformers' names; zero-copy.
class OpenClipSource : public TensorSource {
 public:
  explicit OpenClipSource(std::shared_ptr<const TensorSource> stored) : stored_(std::move(stored)) {
    for (const auto& name : stored_->names()) add(name);
  }

  std::vector<std::string> names() const override { return names_; }

  const TensorInfo* find(const std::string& name) const override {
    const auto found = entries_.find(name);
    return found == entries_.end() ? nullptr : &found->second.info;
  }

  at::Tensor read(const std::string& name) const override {
    const auto found = entries_.find(name);
    if (found == entries_.end())
      throw LoadError(fmt::format("{}: has nothing that transformers calls {}", description(), name));
    const auto& [stored_name, view, info] = found->second;
    const auto tensor = stored_->read(stored_name);
    if (view == View::transposed) return tensor.t();
    if (view == View::whole) return tensor;
    const auto third = tensor.size(0) / 3;
    return tensor.narrow(0, third * (static_cast<int>(view) - static_cast<int>(View::query)), third);
  }

  std::string description() const override { return stored_->description(); }

 private:
  enum class View { whole, transposed, query, key, value };
  struct Entry {
    std::string stored_name;
    View view;
    TensorInfo info;
  };
  using Names = std::vector<std::pair<std::string_view, std::string_view>>;

  void add(const std::string& stored_name) {
    // Constants that some files hold.
    for (const auto* constant : {"attn_mask", "input_resolution", "context_length", "vocab_size"})
      if (stored_name == constant) return;
    if (stored_name == "visual.proj") return put("visual_projection.weight", stored_name, View::transposed);
    if (stored_name == "text_projection") return put("text_projection.weight", stored_name, View::transposed);
    for (const std::string_view suffix : {"weight", "bias"}) {
      const auto fused = fmt::format(".attn.in_proj_{}", suffix);
      if (!stored_name.ends_with(fused)) continue;
      const auto scope = translate(stored_name.substr(0, stored_name.size() - fused.size() + 1));
      put(fmt::format("{}self_attn.q_proj.{}", scope, suffix), stored_name, View::query);
      put(fmt::format("{}self_attn.k_proj.{}", scope, suffix), stored_name, View::key);
      put(fmt::format("{}self_attn.v_proj.{}", scope, suffix), stored_name, View::value);
      return;
    }
    put(translate(stored_name), stored_name, View::whole);
  }

  void put(const std::string& name, const std::string& stored_name, View view) {
    TensorInfo info = *stored_->find(stored_name);
    info.file += fmt::format(" (from its {})", stored_name);
    const bool transposed = view == View::transposed;
    if (transposed && info.shape.size() == 2) std::swap(info.shape[0], info.shape[1]);
    if (!transposed && view != View::whole && !info.shape.empty()) info.shape[0] /= 3;
    if (entries_.try_emplace(name, Entry{stored_name, view, std::move(info)}).second) names_.push_back(name);
  }

  /// Replaces the beginning of a name and, inside a block, its middle; other names stay.
  static std::string translate(std::string name) {
    static const Names beginnings = {
        {"visual.transformer.resblocks.", "vision_model.encoder.layers."},
        {"transformer.resblocks.", "text_model.encoder.layers."},
        {"visual.class_embedding", "vision_model.embeddings.class_embedding"},
        {"visual.positional_embedding", "vision_model.embeddings.position_embedding.weight"},
        {"visual.conv1.", "vision_model.embeddings.patch_embedding."},
        {"visual.ln_pre.", "vision_model.pre_layrnorm."},
        {"visual.ln_post.", "vision_model.post_layernorm."},
        {"token_embedding.", "text_model.embeddings.token_embedding."},
        {"positional_embedding", "text_model.embeddings.position_embedding.weight"},
        {"ln_final.", "text_model.final_layer_norm."}};
    static const Names middles = {{".ln_1.", ".layer_norm1."},
                                  {".ln_2.", ".layer_norm2."},
                                  {".attn.out_proj.", ".self_attn.out_proj."},
                                  {".mlp.c_fc.", ".mlp.fc1."},
                                  {".mlp.c_proj.", ".mlp.fc2."}};
    const auto begins = [&](const auto& item) { return name.starts_with(item.first); };
    const auto beginning = std::find_if(beginnings.begin(), beginnings.end(), begins);
    if (beginning == beginnings.end()) return name;
    name.replace(0, beginning->first.size(), beginning->second);
    for (const auto& [from, to] : middles)
      if (const auto at = name.find(from); at != std::string::npos) name.replace(at, from.size(), to);
    return name;
  }

  std::shared_ptr<const TensorSource> stored_;
  std::vector<std::string> names_;
  std::map<std::string, Entry> entries_;
};

/// The one thing that tensors do not tell: how wide an attention head is.
struct ClipHeadWidths {
  std::int64_t vision = 64;
  std::int64_t text = 64;
};

namespace detail {

/// Size `dimension` of a tensor of `rank` dimensions.
inline std::int64_t clip_size(const OpenClipSource& source, const std::string& name, std::size_t rank,
                              std::size_t dimension) {
  const auto* info = source.find(name);
  if (info == nullptr)
    throw LoadError(
        fmt::format("{}: is not a CLIP checkpoint of open_clip or OpenAI: it has nothing that "
                    "transformers calls {}",
                    source.description(), name));
  if (info->shape.size() != rank)
    throw LoadError(
        fmt::format("{}: {} has {} dimensions, expected {}", info->file, name, info->shape.size(), rank));
  return info->shape[dimension];
}

/// A tower's part of the configuration as transformers would write it.
inline nlohmann::json clip_tower(const OpenClipSource& source, const std::string& tower,
                                 const std::string& activation, std::int64_t head_width) {
  const auto layer = [&](std::int64_t i) {
    return fmt::format("{}.encoder.layers.{}.mlp.fc1.weight", tower, i);
  };
  std::int64_t layers = 0;
  while (source.find(layer(layers)) != nullptr) ++layers;
  const auto width = clip_size(source, layer(0), 2, 1);
  if (width % head_width != 0)
    throw LoadError(fmt::format("{}: {} is {} wide, which is no multiple of the head width {}",
                                source.description(), tower, width, head_width));
  return {{"hidden_size", width},
          {"intermediate_size", clip_size(source, layer(0), 2, 0)},
          {"num_hidden_layers", layers},
          {"num_attention_heads", width / head_width},
          {"hidden_act", activation}};
}

}  // namespace detail

/// The configuration of a checkpoint. The end of a prompt is its largest id, as both packages take it.
inline CLIPConfig open_clip_config(const OpenClipSource& source, const std::string& activation,
                                   const ClipHeadWidths& heads = {}) {
  const std::string embeddings = "vision_model.embeddings.";
  auto vision = detail::clip_tower(source, "vision_model", activation, heads.vision);
  const auto patch_size = detail::clip_size(source, embeddings + "patch_embedding.weight", 4, 3);
  const auto patches = detail::clip_size(source, embeddings + "position_embedding.weight", 2, 0) - 1;
  vision["patch_size"] = patch_size;
  vision["image_size"] =
      patch_size * std::llround(std::sqrt(static_cast<double>(std::max<std::int64_t>(patches, 0))));
  auto text = detail::clip_tower(source, "text_model", activation, heads.text);
  text["vocab_size"] = detail::clip_size(source, "text_model.embeddings.token_embedding.weight", 2, 0);
  text["max_position_embeddings"] =
      detail::clip_size(source, "text_model.embeddings.position_embedding.weight", 2, 0);
  text["eos_token_id"] = 2;
  const auto projection = detail::clip_size(source, "visual_projection.weight", 2, 0);
  return CLIPConfig(Config::parse(
      nlohmann::json{{"projection_dim", projection}, {"text_config", text}, {"vision_config", vision}}.dump(),
      source.description()));
}

}  // namespace reno::nn
