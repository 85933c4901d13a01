#include <ATen/ATen.h>

#include <catch2/catch.hpp>

#include "io/temporary_directory.hpp"
#include "reno/io/tensor_file.hpp"

using reno::LoadError;
using reno::open_tensor_file;
using reno::tensor_file_format;
using reno::TensorFileFormat;
using reno::testing::message_of;
using reno::testing::TemporaryDirectory;

TEST_CASE("The content tells the format") {
  CHECK(tensor_file_format(std::string_view("PK\x03\x04rest")) == TensorFileFormat::pytorch_zip);
  CHECK(tensor_file_format("\x80\x02}q") == TensorFileFormat::pytorch_legacy);
  CHECK(tensor_file_format(std::string_view("\x40\0\0\0\0\0\0\0{\"a\"", 12)) ==
        TensorFileFormat::safetensors);
  CHECK(tensor_file_format(std::string_view("{\0\0\0\0\0\0\0{\"a\"", 12)) == TensorFileFormat::safetensors);
  CHECK(tensor_file_format("{\"weight_map\": {}}") == TensorFileFormat::unknown);
  CHECK(tensor_file_format(std::string_view("\x40\0\0\0\0\0\0\0", 8)) == TensorFileFormat::unknown);
  CHECK(tensor_file_format("") == TensorFileFormat::unknown);
  CHECK(tensor_file_format("PK") == TensorFileFormat::unknown);
}

TEST_CASE("A safetensors file opens under any name") {
  const TemporaryDirectory folder;
  for (const char* name : {"a.safetensors", "pytorch_model.bin", "weights"}) {
    reno::write_safetensors(folder / name, {{"w", at::ones({2})}});
    CHECK(at::equal(open_tensor_file(folder / name)->read("w"), at::ones({2})));
  }
}

TEST_CASE("Other files are refused by what they are") {
  const TemporaryDirectory folder;
  const auto failure = [&](const char* name, std::string_view bytes) {
    folder.write(name, bytes);
    auto message = message_of<LoadError>([&] { open_tensor_file(folder / name); });
    return message.substr(message.rfind('/') + 1);
  };
  CHECK(failure("a.pt", "\x80\x02}q") ==
        "a.pt: is a pickle of PyTorch before 1.6, which is not read; save it again with a newer PyTorch or "
        "convert it "
        "to safetensors");
  CHECK(failure("a.bin", "<html>404 Not Found</html>") ==
        "a.bin: is neither a safetensors nor a PyTorch file");
  CHECK(failure("a.safetensors", "<html>404 Not Found</html>") ==
        "a.safetensors: is not a safetensors file: it announces a header of 3473469848023230524 bytes, "
        "expected at "
        "most 100000000");
  CHECK(failure("a.safetensors", "short") ==
        "a.safetensors: has 5 bytes, expected a safetensors file of at least 8");
}
