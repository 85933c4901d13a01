// A whole file of torch.save, in either format.
#include "fuzz_input.hpp"
#include "reno/io/pytorch_contents.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace reno;
  const auto bytes = test::as_text(data, size);
  try {
    const PytorchContents contents = PytorchContentsReader(bytes, "fuzz.pt", std::nullopt).read();
    for (const TensorRecord& tensor : contents.tensors) {
      const auto& storage = contents.storages.at(tensor.storage_key);
      const std::uint64_t end = (tensor.offset + tensor.extent) * c10::elementSize(tensor.dtype);
      test::promise(tensor.extent == 0 || end <= storage.bytes.size(), "a tensor lies within its storage");
      unsigned sum = 0;
      for (const char c : storage.bytes)
        sum += static_cast<unsigned char>(c);  // the sanitizer sees a stray one
      test::promise(sum <= 255 * size, "a storage lies within the file");
    }
  } catch (const LoadError&) {
  }
  return 0;
}
