// The header of a .safetensors file.
#include "fuzz_input.hpp"
#include "reno/error.hpp"
#include "reno/io/safetensors_header.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    reno::safetensors::parse_header(reno::test::as_text(data, size), "fuzz.safetensors");
  } catch (const reno::LoadError&) {
  }
  return 0;
}
