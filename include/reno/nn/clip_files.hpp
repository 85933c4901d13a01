// A CLIPModel as transformers stores it: a directory with config.json, the weights, and usually the
// tokenizer.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <system_error>

#include "reno/context.hpp"
#include "reno/io/checkpoint.hpp"
#include "reno/io/config.hpp"
#include "reno/io/hub.hpp"
#include "reno/nn/clip_config.hpp"
#include "reno/nn/clip_similarity.hpp"
#include "reno/text/clip_tokenizer.hpp"
#include "reno/text/find_tokenizer.hpp"

namespace reno::nn {

/// What CLIPScore and PickScore ask their user for.
struct ClipFiles {
  std::filesystem::path weights;
  std::optional<std::filesystem::path> tokenizer;
  std::string variant;

  void describe(auto& field) {
    field("weights", weights, "hub id or directory of the CLIPModel: config.json and its weights");
    field("tokenizer", tokenizer, "hub id or directory of the tokenizer; the weights' own when not set");
    field("variant", variant, "file variant of the weights, such as fp16");
  }
};

/// Throws LoadError when files are missing or do not fit together. `published_tokenizer`: the tokenizer that
/// the model was trained with, for checkpoints that come without one.
inline ClipSimilarity::Parts open_clip_model(const std::string& name, const ClipFiles& files,
                                             const Context& context, const std::string& published_tokenizer) {
  namespace fs = std::filesystem;
  std::error_code none;
  const auto weights = resolve_checkpoint(files.weights.string(), context.search_paths);
  const auto directory = fs::is_regular_file(weights, none) ? weights.parent_path() : weights;
  const auto tokenizer = find_tokenizer(
      name, {files.tokenizer, directory, {"vocab.json", "tokenizer.json"}, published_tokenizer}, context);
  return {.name = name,
          .source = open_checkpoint(weights, "model", files.variant),
          .config = CLIPConfig(Config::read(directory / "config.json")),
          .tokenizer = ClipTokenizer::from_directory(tokenizer, ClipTextStyle::transformers_fast)};
}

}  // namespace reno::nn
