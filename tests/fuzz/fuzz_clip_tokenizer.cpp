// Any bytes as a prompt of CLIP's tokenizers: open_clip's with ftfy's repairs and HTML unescaped twice, and
// the two of transformers.
#include "fuzz_input.hpp"
#include "reno/error.hpp"
#include "reno/text/clip_tokenizer.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace reno;
  static const ClipTokenizer tokenizers[] = {
      ClipTokenizer::from_directory(RENO_TEST_DATA "/goldens/a/rewards/hpsv2", ClipTextStyle::open_clip),
      ClipTokenizer::from_directory(RENO_TEST_DATA "/goldens/a/rewards/clip",
                                    ClipTextStyle::transformers_fast),
      ClipTokenizer::from_directory(RENO_TEST_DATA "/goldens/a/generators/sd-turbo/model/tokenizer",
                                    ClipTextStyle::transformers)};
  for (const auto& tokenizer : tokenizers) {
    try {
      const Tokens tokens = tokenizer.encode(test::as_text(data, size));
      test::promise(tokens.ids.size() == 77, "every prompt has 77 ids");
      for (const auto id : tokens.ids)
        test::promise(id >= 0 && id < tokenizer.vocabulary_size(), "every id has a row in the embedding");
    } catch (const ConfigurationError&) {  // a prompt that is made to defeat the cleaning
    }
  }
  return 0;
}
