// HPSv2, the Human Preference Score (Wu et al. 2023, arXiv:2306.09341): open_clip's ViT-H/14 fine-tuned on
// people's choices. score = cos(image, prompt), without CLIP's factor; around 0.2 to 0.35 for version 2.1.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>

#include "reno/io/config.hpp"
#include "reno/io/hub.hpp"
#include "reno/io/tensor_file.hpp"
#include "reno/nn/clip_similarity.hpp"
#include "reno/nn/open_clip.hpp"
#include "reno/text/find_tokenizer.hpp"

namespace reno {

struct Hpsv2 : nn::ClipSimilarity {
  struct Options {
    std::filesystem::path weights = "xswu/HPSv2";
    std::string file = "HPS_v2.1_compressed.pt";
    std::optional<std::filesystem::path> tokenizer;

    void describe(auto& field) {
      field("weights", weights, "hub id or directory of the checkpoint, or the file itself");
      field("file", file, "the checkpoint's file in that directory");
      field("tokenizer", tokenizer,
            "hub id or directory of CLIP's merges.txt or bpe_simple_vocab_16e6.txt.gz; the weights' own when "
            "not set, or CLIP-H's where they have none");
    }
  };
  static constexpr double ceiling = 1.0;
  static constexpr double default_weight = 5.0;

  Hpsv2(const Options& options, const Context& context) : ClipSimilarity(open(options, context), context) {}

 private:
  static Parts open(const Options& options, const Context& context) {
    namespace fs = std::filesystem;
    std::error_code none;
    const auto weights = resolve_checkpoint(options.weights.string(), context.search_paths);
    const auto file = fs::is_directory(weights, none) ? weights / options.file : weights;
    const auto source = std::make_shared<const nn::OpenClipSource>(open_tensor_file(file));
    const auto tokenizer =
        find_tokenizer("hpsv2",
                       {options.tokenizer,
                        file.parent_path(),
                        {"merges.txt", "bpe_simple_vocab_16e6.txt.gz", "bpe_simple_vocab_16e6.txt"},
                        "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"},
                       context);
    return {.name = "hpsv2",
            .source = source,
            .config = nn::open_clip_config(*source, "gelu", head_widths(file.parent_path())),
            .tokenizer = ClipTokenizer::from_directory(tokenizer, ClipTextStyle::open_clip),
            .scaled = false};
  }

  /// ViT-H/14's, which is published without a configuration, or what open_clip's configuration file says.
  static nn::ClipHeadWidths head_widths(const std::filesystem::path& directory) {
    const auto file = directory / "open_clip_config.json";
    std::error_code none;
    if (!std::filesystem::exists(file, none)) return {.vision = 80, .text = 64};
    const auto model = Config::read(file).section("model_cfg");
    const auto text = model.section("text_cfg");
    return {.vision = model.section("vision_cfg").size("head_width", 64),
            .text = std::max<std::int64_t>(1, text.size("width", 512) / text.size("heads", 8))};
  }
};

}  // namespace reno
