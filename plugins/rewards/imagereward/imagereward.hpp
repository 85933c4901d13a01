// ImageReward (Xu et al. 2023, arXiv:2304.05977): BLIP reads the prompt while it looks at the image, and a
// head turns its first token into a score that is standardised over the training data: mostly -2 to 2.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "reno/concepts.hpp"
#include "reno/context.hpp"
#include "reno/io/config.hpp"
#include "reno/io/hub.hpp"
#include "reno/io/tensor_file.hpp"
#include "reno/io/unused.hpp"
#include "reno/nn/bert.hpp"
#include "reno/nn/offload.hpp"
#include "reno/nn/reward_head.hpp"
#include "reno/nn/vision_transformer.hpp"
#include "reno/text/find_tokenizer.hpp"
#include "reno/text/shortened.hpp"
#include "reno/text/wordpiece_tokenizer.hpp"

namespace reno {

class ImageReward {
 public:
  struct Options {
    std::filesystem::path weights = "THUDM/ImageReward";
    std::string file = "ImageReward.pt";
    std::optional<std::filesystem::path> tokenizer;

    void describe(auto& field) {
      field("weights", weights, "hub id or directory of the checkpoint and its med_config.json");
      field("file", file, "the checkpoint's file in that directory");
      field("tokenizer", tokenizer,
            "hub id or directory of BERT's vocab.txt; the weights' own when not set, or bert-base-uncased's "
            "where they have none");
    }
  };
  struct PromptFeatures {
    at::Tensor embedded;  ///< (N, length, hidden), the text before it meets the image
    at::Tensor mask;      ///< (N, 1, 1, length), 0 for a token and -10000 for padding
  };
  static constexpr double ceiling = 2.0;
  static constexpr double default_weight = 1.0;

  ImageReward(const Options& options, const Context& context)
      : ImageReward(options, resolve_checkpoint(options.weights.string(), context.search_paths), context) {}

  /// Cuts a prompt to the 35 tokens that the model was trained with, with a warning.
  PromptFeatures encode(const Prompts& prompts) const {
    const at::NoGradGuard no_grad;
    std::vector<Tokens> batch;
    for (const auto& prompt : prompts) {
      batch.push_back(tokenizer_.encode(prompt, max_length, Padding::none));
      if (batch.back().truncated())
        log_->warn("imagereward: the model reads {} tokens; the last {} of this prompt are cut off: {}",
                   max_length - 2, batch.back().dropped, shortened(prompt));
    }
    pad_to_longest(batch, tokenizer_.pad_id());  // masked: the length changes no score
    std::vector<at::Tensor> ids, masks;
    for (const auto& tokens : batch) {
      ids.push_back(at::tensor(tokens.ids, at::kLong));
      masks.push_back(at::tensor(tokens.attention_mask(), at::kLong));
    }
    return weights_.during([&]() -> PromptFeatures {
      const auto& table = text_.word_embeddings.weight;
      const auto padding = (1 - at::stack(masks)).to(table.device(), table.scalar_type());
      return {text_.embed(at::stack(ids).to(table.device())), padding.unsqueeze(1).unsqueeze(1) * -10000.0};
    });
  }

  Preprocess preprocess() const { return {.size = image_size}; }

  /// pixels (N, 3, 224, 224) of any floating dtype -> (N) in the run's master dtype, in which the small head
  /// is computed.
  at::Tensor score(const at::Tensor& pixels, const PromptFeatures& prompts) const {
    return weights_.keeping_graph(pixels, [&](const at::Tensor& x) {
      const auto first_token = multimodal(x, prompts).select(1, 0);
      return (head_(first_token.to(master_dtype_)) - score_mean) / score_deviation;
    });
  }

  /// The image's tokens (N, 1 + patches, width).
  at::Tensor image_features(const at::Tensor& pixels) const {
    return vision_(pixels.to(vision_.pos_embed.scalar_type()));
  }

  /// The text encoder's last hidden state (N, length, hidden).
  at::Tensor multimodal(const at::Tensor& pixels, const PromptFeatures& prompts) const {
    return text_(prompts.embedded, prompts.mask, image_features(pixels));
  }

 private:
  static constexpr std::int64_t image_size = 224;
  static constexpr std::size_t max_length = 35;
  // Of the score over the training data (ImageReward's own code).
  static constexpr double score_mean = 0.16717362830052426;
  static constexpr double score_deviation = 1.0333394966054072;

  ImageReward(const Options& options, const std::filesystem::path& directory, const Context& context)
      : ImageReward(options, directory, Config::read(directory / "med_config.json"), vision_config(directory),
                    open_tensor_file(directory / options.file), context) {}

  ImageReward(const Options& options, const std::filesystem::path& directory, const Config& text,
              const nn::VisionTransformerConfig& vision, std::shared_ptr<const TensorSource> source,
              const Context& context)
      : ImageReward(options, directory, nn::BertConfig(text, vision.width), vision,
                    nn::Offload(source, context, nn::Visits::every_iteration), context) {}

  ImageReward(const Options& options, const std::filesystem::path& directory, const nn::BertConfig& text,
              const nn::VisionTransformerConfig& vision, const nn::Offload& weights, const Context& context)
      : tokenizer_(WordPieceTokenizer::from_file(
            find_tokenizer("imagereward", {options.tokenizer, directory, {"vocab.txt"}, "bert-base-uncased"},
                           context) /
                "vocab.txt",
            {"[DEC]", "[ENC]"})),
        weights_(weights),
        vision_(weights.weights() / "blip.visual_encoder", vision),
        text_(weights.weights() / "blip.text_encoder", text),
        head_(weights.weights().as(context.master_dtype()) / "mlp", text.hidden_size),
        master_dtype_(context.master_dtype()),
        log_(context.log) {
    if (tokenizer_.vocabulary_size() > text.vocab_size)
      throw LoadError(fmt::format("{}: vocab_size {} is smaller than the tokenizer's {}",
                                  (directory / "med_config.json").string(), text.vocab_size,
                                  tokenizer_.vocabulary_size()));
    // Of BLIP's contrastive training.
    log_unused({weights.weights()}, "imagereward", *log_, {"blip.vision_proj.", "blip.text_proj."});
  }

  /// The published ViT-L/16, or what `model_dims.json` beside the weights says of a smaller one.
  static nn::VisionTransformerConfig vision_config(const std::filesystem::path& directory) {
    nn::VisionTransformerConfig vision;
    const auto file = directory / "model_dims.json";
    std::error_code none;
    if (!std::filesystem::exists(file, none)) return vision;
    const auto config = Config::read(file);
    vision.width = config.size("vision_width");
    vision.layers = config.size("vision_layers", {}, 1000);
    vision.heads = config.size("vision_heads");
    vision.patch_size = config.size("patch_size", {}, image_size);
    if (vision.width % vision.heads != 0)
      throw LoadError(fmt::format("{} = {} does not divide vision_width = {}", config.where("vision_heads"),
                                  vision.heads, vision.width));
    return vision;
  }

  WordPieceTokenizer tokenizer_;
  nn::Offload weights_;
  nn::VisionTransformer vision_;
  nn::BertModel text_;
  nn::RewardHead head_;
  at::ScalarType master_dtype_;
  std::shared_ptr<spdlog::logger> log_;
};

}  // namespace reno
