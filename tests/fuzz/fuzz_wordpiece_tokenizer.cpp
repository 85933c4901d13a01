// Any bytes as a prompt of BERT's tokenizer.
#include "fuzz_input.hpp"
#include "reno/text/wordpiece_tokenizer.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace reno;
  static const auto tokenizer = WordPieceTokenizer::from_file(
      RENO_TEST_DATA "/goldens/a/rewards/imagereward/vocab.txt", {"[DEC]", "[ENC]"});
  const Tokens tokens = tokenizer.encode(test::as_text(data, size), 35);
  test::promise(tokens.ids.size() == 35, "every prompt has 35 ids");
  for (const auto id : tokens.ids)
    test::promise(id >= 0 && id < static_cast<std::int64_t>(tokenizer.vocabulary_size()),
                  "every id has a row in the embedding");
  return 0;
}
