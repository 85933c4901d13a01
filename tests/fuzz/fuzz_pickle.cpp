// A pickle alone, so that mutations reach the description of tensors without getting past a container first.
#include "fuzz_input.hpp"
#include "reno/io/pytorch_contents.hpp"

namespace {

void read(std::string_view bytes, reno::PickleAllowList allow) {
  using namespace reno;
  const PickleSite site{"fuzz.pt", "data.pkl"};
  try {
    const Pickle pickle = PickleReader(bytes, site, allow).read();
    test::promise(pickle.size <= bytes.size(), "a pickle ends within its bytes");
    for (const bool legacy : {false, true}) {
      const TensorRecordReader reader(pickle, site, legacy);
      for (const TensorRecord& tensor : StateDictReader(pickle, site, reader).tensors(pickle.root))
        test::promise(tensor.shape.size() == tensor.strides.size(), "every dimension has a stride");
    }
  } catch (const LoadError&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  read(reno::test::as_text(data, size), reno::state_dict_global);
  read(reno::test::as_text(data, size), reno::torchscript_global);
  return 0;
}
