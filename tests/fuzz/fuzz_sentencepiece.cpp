// A SentencePiece model from a stranger, applied to a few prompts and to its own bytes.
#include "fuzz_input.hpp"
#include "reno/error.hpp"
#include "reno/text/unicode.hpp"
#include "reno/text/unigram_encoder.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace reno;
  const auto bytes = test::as_text(data, size);
  try {
    const text::UnigramEncoder encoder(text::read_sentencepiece_model(bytes, "spiece.model"));
    const auto count = static_cast<std::int64_t>(encoder.pieces().size());
    const std::string own = text::encode_utf8(text::decode_utf8(bytes.substr(0, 200)));
    for (const std::string_view prompt : {std::string_view("aab  c\u0301 \uFF21"), std::string_view(own)})
      for (const auto id : encoder.encode(prompt))
        test::promise(id >= 0 && id < count, "every id is a piece");
  } catch (const LoadError&) {
  }
  return 0;
}
