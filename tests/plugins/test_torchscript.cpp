#include <fstream>

#include "../../plugins/rewards/torchscript/torchscript.hpp"
#include "plugins/reward_checks.hpp"
#include "reno/registry.hpp"
#include "support/temporary_folder.hpp"

using Catch::Matchers::EndsWith;
using Catch::Matchers::StartsWith;
using reno::TorchScriptReward;
using namespace reno::test;

static_assert(reno::Reward<TorchScriptReward>);

namespace {

const std::filesystem::path modules = RENO_TEST_DATA "/torchscript";
const std::filesystem::path rewards = RENO_TEST_DATA "/goldens/a/rewards";

TorchScriptReward::Options options_for(const std::string& name) {
  TorchScriptReward::Options options;
  options.module = modules / (name + ".pt");
  options.size = 20;
  options.length = 12;
  if (name == "ids" || name == "encoded") options.tokenizer = rewards / "clip";
  return options;
}

template <class Make>
std::string refusal(const Make& make) {
  try {
    make();
    return "no error";
  } catch (const reno::Error& error) {
    return error.what();
  }
}

std::string refusal(const TorchScriptReward::Options& options) {
  return refusal([&] { TorchScriptReward(options, LoggedContext()); });
}

}  // namespace

TEST_CASE("torchscript: scores and gradients are those of PyTorch") {
  const auto golden = reno::open_safetensors(modules / "golden.safetensors");
  const auto name = GENERATE(as<std::string>(), "pixels", "traced", "ids", "encoded");
  INFO(name);
  const LoggedContext context;
  TorchScriptReward reward(options_for(name), context);
  TorchScriptReward::PromptFeatures features;
  const reno::ScriptedModule module(modules / (name + ".pt"), at::kCPU, at::kFloat);
  if (name == "ids") features.text = golden->read("ids");
  if (name == "encoded") features.text = module.call("encode_text", {golden->read("ids")});
  const auto reference = name == "traced" ? "pixels" : name;
  for (int repetition = 0; repetition < 4; ++repetition) {  // the executor must not change its mind
    const auto pixels = golden->read("pixels").clone().requires_grad_(true);
    const auto scores = reward.score(pixels, features);
    check_close("torchscript scores", scores, golden->read(reference + ".scores"), Measure::of_largest, 2e-6);
    torch::autograd::backward({scores.sum()});
    check_close("torchscript gradient", pixels.grad(), golden->read(reference + ".gradient"),
                Measure::relative_norm, 2e-6);
  }
  CHECK(context.logged().empty());
}

TEST_CASE("torchscript: images of a batch are independent") {
  const auto name = GENERATE(as<std::string>(), "pixels", "ids", "encoded");
  TorchScriptReward reward(options_for(name), LoggedContext(at::kDouble));
  check_batch(reward, test_pixels(3, reward.preprocess()), {"a red dog", "", "an astronaut on a horse"});
}

TEST_CASE("torchscript: the gradient agrees with finite differences") {
  const auto name = GENERATE(as<std::string>(), "pixels", "ids", "encoded", "traced");
  TorchScriptReward reward(options_for(name), LoggedContext(at::kDouble));
  check_gradient(reward, test_pixels(2, reward.preprocess()), {"a red dog", "a green cat"});
}

TEST_CASE("torchscript keeps dtypes and devices") {
  const auto name = GENERATE(as<std::string>(), "pixels", "ids", "encoded", "traced");
  const auto make = [&](const reno::Context& context) {
    return reno::AnyReward(std::make_unique<TorchScriptReward>(options_for(name), context));
  };
  check_dtypes_and_devices(make, test_pixels(2, {.size = 20}), {"a red dog", "a green cat in a hat"}, 0.02);
}

TEST_CASE("torchscript: a module may stay in a dtype of its own") {
  auto options = options_for("pixels");
  const auto pixels = test_pixels(2, {.size = 20});
  const auto expected = TorchScriptReward(options, LoggedContext()).score(pixels.to(at::kFloat), {});
  options.dtype = at::kFloat;
  const auto scores = TorchScriptReward(options, LoggedContext(at::kDouble)).score(pixels, {});
  CHECK(scores.scalar_type() == at::kDouble);
  CHECK(at::equal(scores, expected.to(at::kDouble)));
}

TEST_CASE("torchscript: each kind of tokenizer gives its ids, padded and cut to the length") {
  const LoggedContext context;
  auto options = options_for("ids");
  const auto ids = [&] {
    return TorchScriptReward(options, context).encode({"a red dog", ""}).text->toTensor();
  };
  const auto expected = [](auto... tokens) { return at::tensor({tokens...}, at::kLong); };

  const auto clip =
      reno::ClipTokenizer::from_directory(rewards / "clip", reno::ClipTextStyle::transformers_fast, 12);
  CHECK(at::equal(ids()[0], at::tensor(clip.encode("a red dog").ids, at::kLong)));
  options.tokenizer = rewards / "hpsv2";
  options.text = TorchScriptReward::Text::open_clip;
  const auto open_clip =
      reno::ClipTokenizer::from_directory(rewards / "hpsv2", reno::ClipTextStyle::open_clip, 12);
  CHECK(at::equal(ids()[0], at::tensor(open_clip.encode("a red dog").ids, at::kLong)));
  CHECK(at::equal(ids()[1].slice(0, 2), at::zeros({10}, at::kLong)));
  options.tokenizer = rewards / "imagereward";
  options.text = TorchScriptReward::Text::bert;
  const auto bert = reno::WordPieceTokenizer::from_file(rewards / "imagereward/vocab.txt");
  CHECK(at::equal(ids()[0], at::tensor(bert.encode("a red dog", 12).ids, at::kLong)));
  CHECK(at::equal(ids()[1].slice(0, 0, 3), expected(bert.start_id(), bert.end_id(), bert.pad_id())));
  CHECK(context.logged().empty());

  TorchScriptReward(options, context).encode({"a a a a a a a a a a a a a"});
  CHECK(context.logged() ==
        "warning: " + options.module.string() +
            ": the module reads 10 tokens; the last 3 of this prompt are cut off: a a a a a "
            "a a a a a a a a\n");
}

TEST_CASE("torchscript: what does not fit is refused in one sentence") {
  const auto file = [](const std::string& name) { return (modules / (name + ".pt")).string(); };
  auto options = options_for("ids");
  options.tokenizer.reset();
  CHECK(refusal(options) == file("ids") +
                                ": forward takes 2 arguments, but is called with 1: the pixels; with the "
                                "option tokenizer also text");
  options = options_for("pixels");
  options.tokenizer = rewards / "clip";
  CHECK(refusal(options) == file("pixels") +
                                ": forward takes 1 argument, but is called with 2: pixels and text; without "
                                "the option tokenizer pixels alone");
  options = options_for("pixels");
  options.mean = {0.5};
  CHECK(refusal(options) == "the option mean has 1 value, expected 3: red, green and blue");
  CHECK_THAT(refusal(TorchScriptReward::Options()), StartsWith("the option module is not set"));
  CHECK_THAT(refusal(options_for("no_such_file")), StartsWith("no weights found for "));
  CHECK_THAT(
      refusal(options_for("state_dict")),
      StartsWith(file("state_dict") + ": is no module written by torch.jit.save (a state dict is none): "));

  const TemporaryFolder folder;
  options = options_for("pixels");
  options.module = folder.path() / "text.pt";
  std::ofstream(options.module) << "no archive";
  const auto text = refusal(options);
  CHECK_THAT(text, StartsWith(options.module.string() + ": is no module written by "));
  CHECK(text.find('\n') == std::string::npos);
}

TEST_CASE("torchscript: a program that fails is told from its last words") {
  const auto failure = [](const std::string& name, at::ScalarType dtype = at::kFloat) {
    const LoggedContext context(dtype);
    const auto pixels = test_pixels(2, {.size = 20}).to(dtype);
    return refusal([&] { TorchScriptReward(options_for(name), context).score(pixels, {}); });
  };
  const auto file = [](const std::string& name) { return (modules / (name + ".pt")).string(); };
  CHECK(failure("raises") == file("raises") + ": forward failed: builtins.ValueError: the sky is not blue");
  CHECK(failure("mismatch") ==
        file("mismatch") + ": forward failed: mat1 and mat2 shapes cannot be multiplied (2x1200 and 7x7)");
  CHECK(failure("matrix") == file("matrix") + ": forward returned shape [2, 3] for 2 images, expected [2]");
  CHECK_THAT(failure("mismatch", at::kDouble),
             EndsWith("; a module may only work in the dtype that it was saved in: try dtype = \"float32\""));
}

TEST_CASE("torchscript: a dry run loads the program and does not run it") {
  const LoggedContext context(at::kFloat, at::kMeta);
  const auto options = options_for("raises");
  TorchScriptReward reward(options, context);
  CHECK(reward.score(at::empty({2, 3, 20, 20}, at::kMeta), {}).sizes() == at::IntArrayRef{2});
  CHECK(context.logged() ==
        "warning: " + options.module.string() +
            ": a dry run does not run the program; the expected memory lacks its activations\n");
}
