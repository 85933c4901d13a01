// BLIP in training, as ImageReward uses it: timm's vision transformer and BERT with cross-attention from
// include/reno/nn, at 64x64 pixels; a linear function of the first token is the score.
#pragma once

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "reno/io/config.hpp"
#include "reno/io/safetensors.hpp"
#include "reno/nn/bert.hpp"
#include "reno/nn/vision_transformer.hpp"
#include "reno/text/tokens.hpp"
#include "shapes/train/clip_network.hpp"
#include "shapes/train/parameters.hpp"
#include "shapes/train/prompt_classes.hpp"
#include "shapes/train/targets.hpp"

namespace reno::shapes {

/// med_config.json
inline nlohmann::ordered_json bert_config_json(std::int64_t vocabulary) {
  return {{"architectures", {"BertModel"}},
          {"model_type", "bert"},
          {"hidden_size", text_width},
          {"intermediate_size", 2 * text_width},
          {"num_hidden_layers", text_layers},
          {"num_attention_heads", text_heads},
          {"max_position_embeddings", 64},
          {"vocab_size", vocabulary},
          {"hidden_act", "gelu"},
          {"layer_norm_eps", 1e-12},
          {"attention_probs_dropout_prob", 0.1},
          {"hidden_dropout_prob", 0.1},
          {"initializer_range", 0.02},
          {"pad_token_id", 0},
          {"type_vocab_size", 2},
          {"encoder_width", vision_width},
          {"add_cross_attention", true}};
}

inline constexpr nn::VisionTransformerConfig blip_vision = {.image_size = image_size,
                                                            .patch_size = small_patch,
                                                            .width = vision_width,
                                                            .layers = vision_layers,
                                                            .heads = vision_heads};

struct BlipNetwork {
  nn::VisionTransformer vision;
  nn::BertModel text;
  nn::Linear score_head, patch_head, picture_head, prompt_head;

  BlipNetwork(const Parameters& parameters, std::int64_t vocabulary)
      : vision(parameters / "blip" / "visual_encoder", blip_vision),
        text(parameters / "blip" / "text_encoder",
             nn::BertConfig(Config::parse(bert_config_json(vocabulary).dump(), "med_config"), vision_width)),
        score_head(parameters / "heads" / "score", text_width, 1),
        patch_head(parameters / "heads" / "patch", vision_width, patch_answers),
        picture_head(parameters / "heads" / "picture", vision_width, picture_answers),
        prompt_head(parameters / "heads" / "prompt", text_width, PromptClasses::count()) {}

  /// Takes over what the vision tower of the stage clip has learnt. CLIP has a norm before the first layer
  /// and timm has none: on average over `images` it is a factor, which goes into patches and positions. The
  /// wider perceptrons get units that begin at nothing.
  void take_over(const TensorSource& clip, const at::Tensor& images) const {
    const c10::NoGradGuard no_grad;
    const auto stored = [&](const std::string& name) {
      return clip.read("average.clip.vision_model." + name);
    };
    const auto kernel = stored("embeddings.patch_embedding.weight");
    const auto positions = stored("embeddings.position_embedding.weight");
    const auto hidden = detail::patch_rows(ClipNetwork::pixels(images))
                            .mm(kernel.flatten(1).t())
                            .view({-1, patches, vision_width}) +
                        positions.narrow(0, 1, patches);
    const auto shrink = 1 / hidden.std(-1, false).mean();
    const auto scale = stored("pre_layrnorm.weight") * shrink;
    vision.patch_embed.weight.copy_(kernel * scale.view({-1, 1, 1, 1}));
    vision.patch_embed.bias.zero_();
    vision.pos_embed.copy_((positions * scale + stored("pre_layrnorm.bias")).unsqueeze(0));
    vision.pos_embed.narrow(1, 1, patches).sub_(hidden.mean() * scale);
    vision.cls_token.copy_((stored("embeddings.class_embedding") * scale).view({1, 1, -1}));
    for (std::size_t layer = 0; layer < vision.blocks.size(); ++layer) take_over_layer(clip, layer);
    vision.norm.weight.copy_(stored("post_layernorm.weight"));
    vision.norm.bias.copy_(stored("post_layernorm.bias"));
    for (const auto* head : {&patch_head, &picture_head}) {
      const std::string name = head == &patch_head ? "average.heads.patch." : "average.heads.picture.";
      head->weight.copy_(clip.read(name + "weight"));
      head->bias.copy_(clip.read(name + "bias"));
    }
  }

  /// (N, 65, 96)
  at::Tensor see(const at::Tensor& images) const { return vision(ClipNetwork::pixels(images)); }

  /// What becomes of prompts that are read beside as many pictures, (N, 64): the first token. The rows of
  /// tokens are of one length.
  at::Tensor read(const at::Tensor& seen, const std::vector<Tokens>& prompts) const {
    std::vector<at::Tensor> ids, masks;
    for (const auto& tokens : prompts) {
      ids.push_back(at::tensor(tokens.ids, at::kLong));
      masks.push_back(at::tensor(tokens.attention_mask(), at::kLong));
    }
    const auto mask = (1 - at::stack(masks).to(at::kFloat)).unsqueeze(1).unsqueeze(1) * -10000.0;
    return text(text.embed(at::stack(ids)), mask, seen).select(1, 0);
  }

  /// (N)
  at::Tensor score(const at::Tensor& read) const { return score_head(read).squeeze(1); }

  /// How badly the prompts are understood.
  at::Tensor misread(const at::Tensor& read, const std::vector<Description>& captions) const {
    return prompt_cross_entropy(prompt_head(read), PromptClasses(captions).labels);
  }

  at::Tensor dense(const at::Tensor& seen, const DenseTargets& targets) const {
    return dense_loss(patch_head(seen.narrow(1, 1, patches)), picture_head(seen.select(1, 0)), targets);
  }

 private:
  void take_over_layer(const TensorSource& clip, std::size_t layer) const {
    const auto stored = [&](const char* name) {
      return clip.read(fmt::format("average.clip.vision_model.encoder.layers.{}.{}", layer, name));
    };
    const auto& block = vision.blocks[layer];
    const auto copy = [&](const auto& to, const char* from) {
      to.weight.copy_(stored(fmt::format("{}.weight", from).c_str()));
      to.bias.copy_(stored(fmt::format("{}.bias", from).c_str()));
    };
    copy(block.norm1, "layer_norm1");
    copy(block.norm2, "layer_norm2");
    copy(block.proj, "self_attn.out_proj");
    std::int64_t row = 0;
    for (const char* part : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"}) {
      block.qkv.weight.narrow(0, row, vision_width).copy_(stored(fmt::format("{}.weight", part).c_str()));
      block.qkv.bias.narrow(0, row, vision_width).copy_(stored(fmt::format("{}.bias", part).c_str()));
      row += vision_width;
    }
    block.fc1.weight.narrow(0, 0, vision_mlp).copy_(stored("mlp.fc1.weight"));
    block.fc1.bias.narrow(0, 0, vision_mlp).copy_(stored("mlp.fc1.bias"));
    block.fc2.weight.zero_();
    block.fc2.weight.narrow(1, 0, vision_mlp).copy_(stored("mlp.fc2.weight"));
    block.fc2.bias.copy_(stored("mlp.fc2.bias"));
  }
};

}  // namespace reno::shapes
