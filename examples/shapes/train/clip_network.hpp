// A CLIP in training: transformers' CLIPModel from include/reno/nn at 64x64 pixels, and the heads for dense
// supervision. The vision tower starts with structure, which saves most of the training: patches enter by
// their principal components, positions as sinusoids, and the first layers look at neighbouring patches.
#pragma once

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <numbers>
#include <vector>

#include "reno/image/preprocess.hpp"
#include "reno/io/config.hpp"
#include "reno/nn/clip.hpp"
#include "reno/nn/normalize.hpp"
#include "shapes/train/lift.hpp"
#include "shapes/train/parameters.hpp"
#include "shapes/train/prompt_classes.hpp"
#include "shapes/train/targets.hpp"

namespace reno::shapes {

inline constexpr std::int64_t vision_width = 96, vision_layers = 4, vision_heads = 8, vision_mlp = 176;
inline constexpr std::int64_t text_width = 64, text_layers = 2, text_heads = 4, text_mlp = 96;
inline constexpr std::int64_t embedding_width = 64, text_positions = 77;
/// Channels of the vision tower that hold the position: cos and sin of three frequencies, across and down.
inline constexpr std::int64_t position_channels = 12;
static_assert(vision_width / vision_heads == position_channels);

/// config.json for pictures of `image` pixels in patches of `patch`. Start and end are token ids.
inline nlohmann::ordered_json clip_config_json(std::int64_t image, std::int64_t patch,
                                               std::int64_t vocabulary, std::int64_t start,
                                               std::int64_t end) {
  return {{"architectures", {"CLIPModel"}},
          {"model_type", "clip"},
          {"projection_dim", embedding_width},
          {"torch_dtype", "float16"},
          {"text_config",
           {{"model_type", "clip_text_model"},
            {"hidden_size", text_width},
            {"intermediate_size", text_mlp},
            {"num_hidden_layers", text_layers},
            {"num_attention_heads", text_heads},
            {"max_position_embeddings", text_positions},
            {"hidden_act", "gelu"},
            {"vocab_size", vocabulary},
            {"projection_dim", embedding_width},
            {"bos_token_id", start},
            {"eos_token_id", end},
            {"pad_token_id", end}}},
          {"vision_config",
           {{"model_type", "clip_vision_model"},
            {"hidden_size", vision_width},
            {"intermediate_size", vision_mlp},
            {"num_hidden_layers", vision_layers},
            {"num_attention_heads", vision_heads},
            {"hidden_act", "gelu"},
            {"image_size", image},
            {"patch_size", patch},
            {"projection_dim", embedding_width}}}};
}

namespace detail {

inline constexpr std::array<double, 3> position_frequencies = {1, 2, 3};  // times 2π/11 per patch

inline double position_angle(std::size_t frequency, double distance) {
  return position_frequencies[frequency] * 2 * std::numbers::pi / 11 * distance;
}

/// (65, 12): of the class token, zeros.
inline at::Tensor sinusoidal_positions() {
  auto positions = at::zeros({patches + 1, position_channels});
  for (std::int64_t patch = 0; patch < patches; ++patch)
    for (std::int64_t axis = 0; axis < 2; ++axis)
      for (std::int64_t f = 0; f < 3; ++f) {
        const auto at_axis = axis == 0 ? patch % patches_per_side : patch / patches_per_side;
        const double angle = position_angle(static_cast<std::size_t>(f), static_cast<double>(at_axis));
        positions[patch + 1][6 * axis + f] = 1.3 * std::cos(angle);
        positions[patch + 1][6 * axis + 3 + f] = 1.3 * std::sin(angle);
      }
  return positions;
}

/// (12, 12): turns the position of a patch into that of the patch (dx, dy) further.
inline at::Tensor position_shift(int dx, int dy) {
  auto turn = at::zeros({position_channels, position_channels});
  for (std::int64_t axis = 0; axis < 2; ++axis)
    for (std::int64_t f = 0; f < 3; ++f) {
      const double angle = position_angle(static_cast<std::size_t>(f), axis == 0 ? dx : dy);
      const auto c = 6 * axis + f, s = c + 3;
      turn[c][c] = turn[s][s] = std::cos(angle);
      turn[c][s] = -std::sin(angle);
      turn[s][c] = std::sin(angle);
    }
  return turn;
}

/// Normalised pictures (N, 3, 64, 64) -> patches (N·64, 192).
inline at::Tensor patch_rows(const at::Tensor& pixels) {
  return at::im2col(pixels, {8, 8}, {1, 1}, {0, 0}, {8, 8}).transpose(1, 2).flatten(0, 1);
}

/// Projection (192, size) onto the first principal components, the strong ones weakened, to about unit size;
/// and the mean patch.
inline std::pair<at::Tensor, at::Tensor> principal_components(const at::Tensor& rows, std::int64_t size) {
  const auto mean = rows.mean(0), centred = rows - mean;
  const auto [values, vectors] = at::linalg_eigh(centred.t().mm(centred) / rows.size(0));
  const auto strongest = values.flip(0).narrow(0, 0, size);
  auto basis = vectors.flip(1).narrow(1, 0, size) / (strongest + 4e-4 * strongest[0]).pow(.35);
  basis = basis * (.8 / centred.mm(basis).square().mean().sqrt());
  return {basis, mean};
}

}  // namespace detail

/// What a picture becomes.
struct SeenPictures {
  at::Tensor tokens;     ///< (N, 65, 96), normalised; the first is the class token
  at::Tensor embedding;  ///< (N, 64), of length 1
};

/// What a prompt becomes.
struct ReadPrompts {
  at::Tensor pooled;     ///< (N, 64)
  at::Tensor embedding;  ///< (N, 64), of length 1
};

struct ClipNetwork {
  nn::CLIPModel model;
  nn::Linear patch_head, picture_head, prompt_head;

  ClipNetwork(const Parameters& parameters, const nlohmann::ordered_json& config)
      : model(parameters / "clip", nn::CLIPConfig(Config::parse(config.dump(), "clip"))),
        patch_head(parameters / "heads" / "patch", vision_width, patch_answers),
        picture_head(parameters / "heads" / "picture", vision_width, picture_answers),
        prompt_head(parameters / "heads" / "prompt", text_width, PromptClasses::count()) {}

  /// Gives both towers their structure; `images` (N, 3, 64, 64) in [0, 1] are examples.
  void structure(const at::Tensor& images) const {
    const c10::NoGradGuard no_grad;
    const auto& vision = model.vision_model;
    const auto content = vision_width - position_channels;
    const auto [basis, mean] = detail::principal_components(detail::patch_rows(pixels(images)), content);
    vision.patch_embedding.weight.zero_();
    vision.patch_embedding.weight.narrow(0, 0, content).copy_(basis.t().reshape({content, 3, 8, 8}));
    const auto& positions = vision.position_embedding.weight;
    positions.zero_();
    positions.narrow(1, content, position_channels).copy_(detail::sinusoidal_positions());
    positions.narrow(0, 1, patches).narrow(1, 0, content).sub_(mean.unsqueeze(0).mm(basis));
    model.logit_scale.fill_(3.5);
    for (std::size_t layer = 0; layer < 3; ++layer) look_at_neighbours(layer);
    spread_words();
  }

  SeenPictures see(const at::Tensor& images) const {
    const auto& vision = model.vision_model;
    at::Tensor x = vision.embed(pixels(images));
    for (const auto& layer : vision.layers) x = layer(x, /*causal=*/false);
    const auto tokens = vision.post_layernorm(x);
    return {tokens, nn::normalize(model.visual_projection(tokens.select(1, 0)))};
  }

  ReadPrompts read(const nn::TokenIds& ids) const {
    const auto pooled = model.text_model(ids).pooled;
    return {pooled, nn::normalize(model.text_projection(pooled))};
  }

  at::Tensor dense(const SeenPictures& seen, const DenseTargets& targets) const {
    return dense_loss(patch_head(seen.tokens.narrow(1, 1, patches)), picture_head(seen.tokens.select(1, 0)),
                      targets);
  }

  /// How badly the prompts are understood.
  at::Tensor misread(const ReadPrompts& prompts, const std::vector<Description>& captions) const {
    return prompt_cross_entropy(prompt_head(prompts.pooled), PromptClasses(captions).labels);
  }

  static at::Tensor pixels(const at::Tensor& images) { return preprocess(images, {.size = image_size}); }

 private:
  /// Words and their places begin far apart, so that their order is heard.
  void spread_words() const {
    const auto spread = [](const at::Tensor& values, double deviation) {
      values.mul_(deviation / values.std().item<double>());
    };
    const auto& text = model.text_model;
    spread(text.token_embedding.weight, .5);
    spread(text.position_embedding.weight, .2);
    for (const auto& layer : text.layers) {
      for (const auto* reading :
           {&layer.self_attn.q_proj, &layer.self_attn.k_proj, &layer.self_attn.v_proj, &layer.mlp.fc1})
        spread(reading->weight, std::pow(text_width, -.5));
      spread(layer.self_attn.out_proj.weight, .5 * std::pow(text_width, -.5));
      spread(layer.mlp.fc2.weight, .5 * std::pow(text_mlp, -.5));
    }
  }

  /// Each head asks for the position of one of the eight neighbours; in the third layer, twice as far.
  void look_at_neighbours(std::size_t layer) const {
    const auto& attention = model.vision_model.layers[layer].self_attn;
    const auto content = vision_width - position_channels;
    attention.q_proj.weight.mul_(.15);
    attention.k_proj.weight.mul_(.15);
    std::int64_t head = 0;
    const int step = layer < 2 ? 1 : 2;
    for (const int dy : {-1, 0, 1})
      for (const int dx : {-1, 0, 1}) {
        if (dx == 0 && dy == 0) continue;
        const auto rows = [&](const nn::Linear& linear) {
          return linear.weight.narrow(0, head * position_channels, position_channels)
              .narrow(1, content, position_channels);
        };
        rows(attention.q_proj).copy_(1.6 * detail::position_shift(step * dx, step * dy));
        rows(attention.k_proj).copy_(1.6 * at::eye(position_channels));
        ++head;
      }
  }
};

}  // namespace reno::shapes
