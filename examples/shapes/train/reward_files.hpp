// Trained rewards in the files of the published ones.
#pragma once

#include <ATen/ATen.h>

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "reno/io/safetensors.hpp"
#include "shapes/train/clip_network.hpp"
#include "shapes/train/pytorch_writer.hpp"
#include "shapes/train/tokenizer_files.hpp"

namespace reno::shapes {

/// transformers' CLIPModel beside its tokenizer.
inline void write_transformers_clip(const std::filesystem::path& folder, const TensorMap& weights,
                                    const nlohmann::ordered_json& config) {
  write_json(folder / "config.json", config);
  write_json(folder / "preprocessor_config.json",
             {{"image_processor_type", "CLIPImageProcessor"},
              {"do_resize", true},
              {"size", {{"shortest_edge", large_image}}},
              {"resample", 3},
              {"do_center_crop", true},
              {"crop_size", {{"height", large_image}, {"width", large_image}}},
              {"do_rescale", true},
              {"do_normalize", true},
              {"image_mean", clip_mean},
              {"image_std", clip_std},
              {"do_convert_rgb", true}});
  write_safetensors(folder / "model.safetensors", weights, {{"format", "pt"}});
}

namespace detail {

using Renames = std::vector<std::pair<std::string_view, std::string_view>>;

inline std::string replaced(std::string name, const Renames& renames) {
  for (const auto& [from, to] : renames)
    if (const auto at = name.find(from); at != std::string::npos) name.replace(at, from.size(), to);
  return name;
}

/// open_clip's text towers are four times as wide inside; units of zeros change nothing.
inline at::Tensor widened(const std::string& name, const at::Tensor& tensor) {
  constexpr std::int64_t missing = 4 * text_width - text_mlp;
  if (!name.starts_with("text_model.")) return tensor;
  if (name.ends_with("fc1.weight")) return at::constant_pad_nd(tensor, {0, 0, 0, missing});
  if (name.ends_with("fc1.bias") || name.ends_with("fc2.weight"))
    return at::constant_pad_nd(tensor, {0, missing});
  return tensor;
}

}  // namespace detail

/// transformers' names and layouts -> open_clip's.
inline TensorMap open_clip_weights(const TensorMap& weights) {
  static const detail::Renames renames = {
      {"vision_model.encoder.layers.", "visual.transformer.resblocks."},
      {"text_model.encoder.layers.", "transformer.resblocks."},
      {"vision_model.embeddings.class_embedding", "visual.class_embedding"},
      {"vision_model.embeddings.position_embedding.weight", "visual.positional_embedding"},
      {"vision_model.embeddings.patch_embedding", "visual.conv1"},
      {"vision_model.pre_layrnorm", "visual.ln_pre"},
      {"vision_model.post_layernorm", "visual.ln_post"},
      {"text_model.embeddings.token_embedding", "token_embedding"},
      {"text_model.embeddings.position_embedding.weight", "positional_embedding"},
      {"text_model.final_layer_norm", "ln_final"},
      {".layer_norm1.", ".ln_1."},
      {".layer_norm2.", ".ln_2."},
      {".self_attn.out_proj.", ".attn.out_proj."},
      {".self_attn.q_proj.", ".attn.in_proj_"},
      {".mlp.fc1.", ".mlp.c_fc."},
      {".mlp.fc2.", ".mlp.c_proj."}};
  TensorMap renamed;
  for (const auto& [name, tensor] : weights) {
    if (name.find(".k_proj.") != std::string::npos || name.find(".v_proj.") != std::string::npos) continue;
    if (name == "visual_projection.weight" || name == "text_projection.weight") {
      renamed.emplace(name.starts_with("visual") ? "visual.proj" : "text_projection",
                      tensor.t().contiguous());
      continue;
    }
    at::Tensor value = detail::widened(name, tensor);
    if (const auto at = name.find(".q_proj."); at != std::string::npos) {
      const auto of = [&](const char* which) { return weights.at(std::string(name).replace(at, 8, which)); };
      value = at::cat({tensor, of(".k_proj."), of(".v_proj.")});
    }
    renamed.emplace(detail::replaced(name, renames), value);
  }
  return renamed;
}

/// HPSv2: open_clip's checkpoint with its configuration, beside the merge list that write_clip_tokenizer
/// left.
inline void write_hpsv2(const std::filesystem::path& folder, const TensorMap& weights,
                        std::int64_t vocabulary) {
  const nlohmann::ordered_json vision = {{"image_size", large_image},
                                         {"layers", vision_layers},
                                         {"width", vision_width},
                                         {"head_width", vision_width / vision_heads},
                                         {"mlp_ratio", static_cast<double>(vision_mlp) / vision_width},
                                         {"patch_size", large_patch}};
  const nlohmann::ordered_json text = {{"context_length", text_positions},
                                       {"vocab_size", vocabulary},
                                       {"width", text_width},
                                       {"heads", text_heads},
                                       {"layers", text_layers}};
  const nlohmann::ordered_json model = {
      {"embed_dim", embedding_width}, {"vision_cfg", vision}, {"text_cfg", text}};
  write_json(folder / "open_clip_config.json",
             {{"model_cfg", model}, {"preprocess_cfg", {{"mean", clip_mean}, {"std", clip_std}}}});
  write_pytorch(folder / "HPS_v2.1_compressed.pt", open_clip_weights(weights), "state_dict");
}

/// A linear function w·x + b as the five layers of the published heads, which have nothing between them: one
/// unit of each passes the value on.
inline TensorMap head_weights(const at::Tensor& weight, double bias) {
  const std::vector<std::pair<const char*, std::array<std::int64_t, 2>>> layers = {
      {"0", {1024, weight.numel()}}, {"2", {128, 1024}}, {"4", {64, 128}}, {"6", {16, 64}}, {"7", {1, 16}}};
  TensorMap tensors;
  for (const auto& [layer, sizes] : layers) {
    auto matrix = at::zeros(sizes);
    matrix[0][0] = 1;
    if (layer == layers.front().first) matrix[0].copy_(weight.flatten());
    auto offset = at::zeros({sizes[0]});
    if (layer == layers.back().first) offset[0] = bias;
    tensors.emplace(fmt::format("layers.{}.weight", layer), matrix);
    tensors.emplace(fmt::format("layers.{}.bias", layer), offset);
  }
  return tensors;
}

}  // namespace reno::shapes
