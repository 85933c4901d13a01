#include <ATen/ATen.h>

#include <catch2/catch.hpp>

#include "reno/io/tensor_file.hpp"
#include "support/temporary_folder.hpp"

using reno::LoadError;
using reno::open_tensor_file;
using reno::tensor_file_format;
using reno::TensorFileFormat;
using reno::test::message_of;
using reno::test::TemporaryFolder;

TEST_CASE("The content tells the format") {
  const auto format = [](std::string_view bytes) { return tensor_file_format(bytes); };
  CHECK(format("PK\x03\x04 and more") == TensorFileFormat::pytorch);
  CHECK(format("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20") == TensorFileFormat::pytorch);
  CHECK(format("\x80\x04\x95 and more") == TensorFileFormat::pytorch);
  CHECK(format("\x80\x20\x95 and more") == TensorFileFormat::unknown);
  CHECK(format(std::string_view("\x40\0\0\0\0\0\0\0{\"a\"", 12)) == TensorFileFormat::safetensors);
  CHECK(format(std::string_view("\x80\2\0\0\0\0\0\0{\"a\"", 12)) == TensorFileFormat::safetensors);
  CHECK(format(std::string_view("{\0\0\0\0\0\0\0{\"a\"", 12)) == TensorFileFormat::safetensors);
  CHECK(format("{\"weight_map\": {}}") == TensorFileFormat::unknown);
  CHECK(format(std::string_view("\x40\0\0\0\0\0\0\0", 8)) == TensorFileFormat::unknown);
  CHECK(format("") == TensorFileFormat::unknown);
  CHECK(format("PK") == TensorFileFormat::unknown);
}

TEST_CASE("A safetensors file opens under any name") {
  const TemporaryFolder folder;
  for (const char* name : {"a.safetensors", "pytorch_model.bin", "weights"}) {
    reno::write_safetensors(folder / name, {{"w", at::ones({2})}});
    CHECK(at::equal(open_tensor_file(folder / name)->read("w"), at::ones({2})));
  }
}

TEST_CASE("PyTorch files open under any name") {
  const auto expected = reno::open_safetensors(RENO_TEST_DATA "/pytorch/module.safetensors");
  const TemporaryFolder folder;
  for (const char* name : {"module_zip.pt", "module_legacy.pt"}) {
    std::filesystem::copy(std::filesystem::path(RENO_TEST_DATA "/pytorch") / name, folder / "a.safetensors",
                          std::filesystem::copy_options::overwrite_existing);
    const auto file = open_tensor_file(folder / "a.safetensors");
    for (const auto& tensor : expected->names())
      CHECK(at::equal(file->read(tensor.substr(7)), expected->read(tensor)));
  }
}

TEST_CASE("Other files are refused by what they are") {
  const TemporaryFolder folder;
  const auto failure = [&](const char* name, std::string_view bytes) {
    folder.write(name, bytes);
    auto message = message_of<LoadError>([&] { open_tensor_file(folder / name); });
    return message.substr(message.rfind('/') + 1);
  };
  CHECK(failure("a.bin", "<html>404 Not Found</html>") ==
        "a.bin: is neither a safetensors nor a PyTorch file");
  CHECK(failure("a.safetensors", "<html>404 Not Found</html>") ==
        "a.safetensors: is not a safetensors file: it announces a header of 3473469848023230524 bytes, "
        "expected at "
        "most 100000000");
  CHECK(failure("a.safetensors", "short") ==
        "a.safetensors: has 5 bytes, expected a safetensors file of at least 8");
}
