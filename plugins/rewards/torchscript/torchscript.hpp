// A reward from a file: any module that PyTorch scripted or traced, used from the experiment alone. By what
// the experiment and the module have,
//
//     forward(pixels) -> scores                                           without a tokenizer
//     forward(pixels, ids) -> scores                                      with one
//     encode_text(ids) -> features, forward(pixels, features) -> scores   and where the module has
//     encode_text
//
// pixels (N,3,size,size), ids (N,length) int64, scores (N) or (N,1), higher is better; `features` may be
// anything that TorchScript can return.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/core/ivalue.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "reno/concepts.hpp"
#include "reno/context.hpp"
#include "reno/io/hub.hpp"
#include "reno/options.hpp"
#include "reno/text/clip_tokenizer.hpp"
#include "reno/text/shortened.hpp"
#include "reno/text/wordpiece_tokenizer.hpp"
#include "scripted_module.hpp"

namespace reno {

class TorchScriptReward {
 public:
  enum class Text { clip, open_clip, bert };

  struct Options {
    std::filesystem::path module;
    std::optional<std::filesystem::path> tokenizer;
    Text text = Text::clip;
    std::int64_t length = 77;
    std::int64_t size = 224;
    std::vector<double> mean = {clip_mean.begin(), clip_mean.end()};
    std::vector<double> std = {clip_std.begin(), clip_std.end()};
    double ceiling = 1.0;
    c10::ScalarType dtype = c10::ScalarType::Undefined;

    void describe(auto& field) {
      field("module", module,
            "file written by torch.jit.save; it is a program that will be run: use only what you trust");
      field("tokenizer", tokenizer,
            "hub id or directory of the tokenizer; not set: the module sees the pixels alone");
      field("text", text,
            "how prompts become ids: as transformers' CLIPTokenizer, open_clip's or BertTokenizer",
            spelling<Text>{{{"clip", Text::clip}, {"open-clip", Text::open_clip}, {"bert", Text::bert}}});
      field("length", length, "ids per prompt, to which it is cut or padded", bounds{2, 4096});
      field("size", size, "height and width of the image that the module sees", bounds{1, 4096});
      field("mean", mean, "subtracted from red, green and blue, which are in [0, 1]; the default is CLIP's");
      field("std", std, "divides them afterwards", bounds{1e-6});
      field("ceiling", ceiling, "loss = ceiling - score");
      field("dtype", dtype, "of the module, for one that only works in some; run: that of the run",
            spelling<c10::ScalarType>{{{"run", c10::ScalarType::Undefined},
                                       {"float32", c10::kFloat},
                                       {"float16", c10::kHalf},
                                       {"bfloat16", c10::kBFloat16},
                                       {"float64", c10::kDouble}}});
    }
  };

  struct PromptFeatures {
    std::optional<c10::IValue> text;  ///< ids, or what encode_text made of them
  };

  TorchScriptReward(const Options& options, const Context& context)
      : ceiling(options.ceiling),
        context_(context),
        dtype_(options.dtype == c10::ScalarType::Undefined ? context.dtype : options.dtype),
        length_(options.length),
        preprocess_{.size = options.size,
                    .mean = channels(options.mean, "mean"),
                    .std = channels(options.std, "std")},
        module_(find(options, context), context.device, dtype_) {
    if (context.device.is_meta())
      context.log->warn("{}: a dry run does not run the program; the expected memory lacks its activations",
                        module_.file());
    if (!options.tokenizer) {
      module_.require_arguments("forward", 1, "the pixels; with the option tokenizer also text");
      return;
    }
    read_tokenizer(options.text, resolve_checkpoint(options.tokenizer->string(), context.search_paths));
    module_.require_arguments("forward", 2, "pixels and text; without the option tokenizer pixels alone");
    if (module_.has("encode_text")) module_.require_arguments("encode_text", 1, "the token ids");
  }

  /// Cuts a prompt to the option `length`, with a warning.
  PromptFeatures encode(const Prompts& prompts) const {
    if (!tokenize_) return {};
    const at::NoGradGuard no_grad;
    std::vector<at::Tensor> rows;
    for (const auto& prompt : prompts) {
      const Tokens tokens = tokenize_(prompt);
      if (tokens.truncated())
        context_.log->warn("{}: the module reads {} tokens; the last {} of this prompt are cut off: {}",
                           module_.file(), length_ - 2, tokens.dropped, shortened(prompt));
      rows.push_back(at::tensor(tokens.ids, at::kLong));
    }
    c10::IValue ids = at::stack(rows).to(context_.device);
    const bool encodes = module_.has("encode_text") && !context_.device.is_meta();
    return {encodes ? call("encode_text", {std::move(ids)}) : std::move(ids)};
  }

  Preprocess preprocess() const { return preprocess_; }

  /// pixels (N, 3, size, size) of any floating dtype -> (N) in the run's master dtype. In a dry run the
  /// program is not run: few of PyTorch's operators can do without data.
  at::Tensor score(const at::Tensor& pixels, const PromptFeatures& prompts) const {
    if (pixels.is_meta()) return pixels.flatten(1).sum(1).to(context_.master_dtype());
    std::vector<c10::IValue> inputs = {pixels.to(dtype_)};
    if (prompts.text) inputs.push_back(*prompts.text);
    const c10::IValue result = call("forward", std::move(inputs));
    if (!result.isTensor())
      throw RunError(fmt::format("{}: forward returned {}, expected a tensor of one score per image",
                                 module_.file(), result.type()->str()));
    const at::Tensor& scores = result.toTensor();
    const bool column = scores.dim() == 2 && scores.size(1) == 1;
    if (!(scores.dim() == 1 || column) || scores.size(0) != pixels.size(0))
      throw RunError(fmt::format("{}: forward returned shape [{}] for {} image{}, expected [{}]",
                                 module_.file(), fmt::join(scores.sizes(), ", "), pixels.size(0),
                                 pixels.size(0) == 1 ? "" : "s", pixels.size(0)));
    return scores.reshape({-1}).to(context_.master_dtype());
  }

  double ceiling;

 private:
  static std::filesystem::path find(const Options& options, const Context& context) {
    if (options.module.empty())
      throw ConfigurationError("the option module is not set; expected a file written by torch.jit.save");
    return resolve_checkpoint(options.module.string(), context.search_paths);
  }

  static std::array<double, 3> channels(const std::vector<double>& values, const char* key) {
    if (values.size() != 3)
      throw ConfigurationError(fmt::format("the option {} has {} value{}, expected 3: red, green and blue",
                                           key, values.size(), values.size() == 1 ? "" : "s"));
    return {values[0], values[1], values[2]};
  }

  void read_tokenizer(Text text, const std::filesystem::path& directory) {
    if (text == Text::bert) {
      tokenize_ = [tokenizer = WordPieceTokenizer::from_file(directory / "vocab.txt"),
                   length = static_cast<std::size_t>(length_)](const std::string& prompt) {
        return tokenizer.encode(prompt, length);
      };
    } else {
      const auto style = text == Text::clip ? ClipTextStyle::transformers_fast : ClipTextStyle::open_clip;
      tokenize_ = [tokenizer = ClipTokenizer::from_directory(directory, style, length_)](
                      const std::string& prompt) { return tokenizer.encode(prompt); };
    }
  }

  /// Says what might help where a program, unlike a network, may be particular about its numbers.
  c10::IValue call(const char* method, std::vector<c10::IValue> inputs) const {
    try {
      return module_.call(method, std::move(inputs));
    } catch (const RunError& error) {
      if (dtype_ == c10::kFloat) throw;
      throw RunError(std::string(error.what()) +
                     "; a module may only work in the dtype that it was saved in: try dtype = \"float32\"");
    }
  }

  Context context_;
  c10::ScalarType dtype_;
  std::int64_t length_;
  Preprocess preprocess_;
  ScriptedModule module_;
  std::function<Tokens(const std::string&)> tokenize_;  ///< empty: the module does not read
};

}  // namespace reno
