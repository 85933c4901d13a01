// CLIPScore and PickScore differ in weights and constants alone, so they are tested alike.
#pragma once

#include <unistd.h>

#include "plugins/reward_checks.hpp"
#include "reno/nn/clip_files.hpp"
#include "support/manifests.hpp"

namespace reno::test {

template <class R>
void check_against_transformers(const std::string& name) {
  for (const auto& golden : goldens("rewards/" + name)) {
    for (const auto device : devices()) {
      const LoggedContext context(at::kFloat, device);
      auto reward = open_from<R>(golden.folder, context);
      CHECK(context.logged().empty());
      check_golden(name, reward, golden, {.loss = 3e-4}, mean_over_pairs<R>, device);
    }
    const auto tokenizer = ClipTokenizer::from_directory(golden.folder, ClipTextStyle::transformers_fast);
    for (const auto& golden_case : golden.json["cases"]) {
      const auto ids = golden[fmt::format("case{}.input_ids", golden_case["case"].get<int>())];
      std::vector<Tokens> batch;
      for (const auto& prompt : prompts_of(golden_case))
        batch.push_back(tokenizer.encode(prompt, Padding::none));
      pad_to_longest(batch, tokenizer.pad_id());
      for (std::int64_t i = 0; i < ids.size(0); ++i)
        CHECK(at::equal(at::tensor(batch[static_cast<std::size_t>(i)].ids, at::kLong), ids[i]));
    }
  }
}

/// transformers' older weights file, alone in its directory, gives the same scores; the zip format in one
/// preset and the one before it in the other.
template <class R>
void check_pickled_weights(const std::string& name) {
  namespace fs = std::filesystem;
  const auto folder = fs::temp_directory_path() / fmt::format("reno-{}-{}", name, ::getpid());
  for (const auto& golden : goldens("rewards/" + name)) {
    if (!fs::exists(golden.folder / "pytorch_model.bin")) continue;
    INFO(golden.preset);
    fs::remove_all(folder);
    fs::create_directory(folder);
    for (const auto& file :
         {"pytorch_model.bin", "config.json", "vocab.json", "merges.txt", "tokenizer_config.json"})
      fs::create_symlink(fs::absolute(golden.folder / file), folder / file);
    const LoggedContext context;
    const auto pickled = open_from<R>(folder, context);
    CHECK(context.logged().empty());  // position_ids are no surprise
    const auto reward = open_from<R>(golden.folder, context);
    const at::Tensor pixels = test_pixels(1, reward.preprocess()).to(at::kFloat);
    // The tensors are equal to the bit (tests/io); but matrix products round by how a tensor is aligned in
    // memory, and that is how it is aligned in the file.
    check_relative_norm(name + " from pytorch_model.bin",
                        pickled.score(pixels, pickled.encode({"a red dog"})),
                        reward.score(pixels, reward.encode({"a red dog"})), 5e-6);
  }
  fs::remove_all(folder);
}

inline void check_published_shapes(const std::string& name) {
  check_manifest("reward." + name, [](const Weights& w, const Config& config) {
    return nn::CLIPModel(w, nn::CLIPConfig(config));
  });
}

}  // namespace reno::test
