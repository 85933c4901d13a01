// The LAION aesthetic predictor (Schuhmann 2022, improved-aesthetic-predictor): how much people like an image
// on a scale of 1 to 10, regressed from the image embedding of OpenAI's CLIP ViT-L/14. The prompt does not
// matter. Its dropout is off, as it must be for scoring.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <system_error>

#include "reno/concepts.hpp"
#include "reno/context.hpp"
#include "reno/io/checkpoint.hpp"
#include "reno/io/config.hpp"
#include "reno/io/hub.hpp"
#include "reno/io/tensor_file.hpp"
#include "reno/io/unused.hpp"
#include "reno/nn/clip.hpp"
#include "reno/nn/normalize.hpp"
#include "reno/nn/offload.hpp"
#include "reno/nn/open_clip.hpp"
#include "reno/nn/reward_head.hpp"

namespace reno {

class Aesthetic {
 public:
  struct Options {
    std::filesystem::path weights = "trl-lib/ddpo-aesthetic-predictor";
    std::filesystem::path clip = "openai/clip-vit-large-patch14";
    std::string file = "aesthetic-model.pth";
    std::string variant;

    void describe(auto& field) {
      field("weights", weights, "hub id or directory of the predictor's head, or its file itself");
      field("clip", clip,
            "CLIP ViT-L/14: hub id or directory of transformers' CLIPModel, or a file of OpenAI's "
            "(ViT-L-14.pt)");
      field("file", file, "the head's file in the directory `weights`");
      field("variant", variant, "file variant of the CLIPModel's weights, such as fp16");
    }
  };
  struct PromptFeatures {};
  static constexpr double ceiling = 10.0;
  static constexpr double default_weight = 0.0;

  Aesthetic(const Options& options, const Context& context)
      : Aesthetic(open_clip(options, context), open_head(options, context), context) {}

  PromptFeatures encode(const Prompts&) const { return {}; }
  Preprocess preprocess() const { return {.size = image_size_}; }

  /// pixels (N, 3, size, size) of any floating dtype -> (N) in the run's master dtype, in which the small
  /// head is computed. The embedding is normalised twice, as published; the second time does nothing but
  /// round.
  at::Tensor score(const at::Tensor& pixels, const PromptFeatures&) const {
    return weights_.keeping_graph(pixels, [&](const at::Tensor& x) {
      const auto embedding = visual_projection_(vision_(x.to(dtype_))).to(master_dtype_);
      return head_(nn::normalize(nn::normalize(embedding)));
    });
  }

 private:
  struct Clip {
    std::shared_ptr<const TensorSource> source;
    nn::CLIPConfig config;
  };

  Aesthetic(const Clip& clip, std::shared_ptr<const TensorSource> head, const Context& context)
      : Aesthetic(clip, nn::Offload(clip.source, context, nn::Visits::every_iteration),
                  Weights(std::move(head), context.device, context.master_dtype()), context) {}

  Aesthetic(const Clip& clip, const nn::Offload& weights, const Weights& head, const Context& context)
      : weights_(weights),
        vision_(weights.weights(), clip.config.vision_config),
        visual_projection_(weights.weights() / "visual_projection", clip.config.vision_config.hidden_size,
                           clip.config.projection_dim, nn::Bias::no),
        head_(head, clip.config.projection_dim),
        image_size_(clip.config.vision_config.image_size),
        dtype_(context.dtype),
        master_dtype_(context.master_dtype()) {
    log_unused({weights.weights()}, "aesthetic", *context.log,
               {"text_model.", "text_projection.", "logit_scale"});
    log_unused({head}, "aesthetic", *context.log);
  }

  /// A directory is transformers' layout, a file OpenAI's: the archive as published, or its state dict.
  static Clip open_clip(const Options& options, const Context& context) {
    std::error_code none;
    const auto path = resolve_checkpoint(options.clip.string(), context.search_paths);
    if (std::filesystem::is_directory(path, none))
      return {open_checkpoint(path, "model", options.variant),
              nn::CLIPConfig(Config::read(path / "config.json"))};
    const auto source = std::make_shared<const nn::OpenClipSource>(open_tensor_file(path));
    return {source, nn::open_clip_config(*source, "quick_gelu")};
  }

  static std::shared_ptr<const TensorSource> open_head(const Options& options, const Context& context) {
    std::error_code none;
    const auto path = resolve_checkpoint(options.weights.string(), context.search_paths);
    return open_tensor_file(std::filesystem::is_directory(path, none) ? path / options.file : path);
  }

  nn::Offload weights_;  ///< all but the head, which is small
  nn::CLIPVisionModel vision_;
  nn::Linear visual_projection_;
  nn::RewardHead head_;
  std::int64_t image_size_;
  at::ScalarType dtype_;
  at::ScalarType master_dtype_;
};

}  // namespace reno
