// Weights files come from strangers. Every way in which a safetensors file can lie is refused when it is
// opened, with one sentence.
#include <ATen/ATen.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <random>

#include "reno/io/safetensors.hpp"
#include "support/temporary_folder.hpp"

using reno::LoadError;
using reno::test::message_of;
using reno::test::TemporaryFolder;

namespace {

std::string length_field(std::uint64_t length) { return {reinterpret_cast<const char*>(&length), 8}; }

std::string container(const std::string& header, std::size_t data_bytes) {
  return length_field(header.size()) + header + std::string(data_bytes, '\x2a');
}

/// A file with one tensor "w", of whose entry the fields are given.
std::string one_tensor(const std::string& fields, std::size_t data_bytes = 8) {
  return container("{\"w\":{" + fields + "}}", data_bytes);
}

std::string failure(const std::string& bytes) {
  const TemporaryFolder folder;
  const auto path = folder.write("f.safetensors", bytes);
  auto message = message_of<LoadError>([&] { reno::open_safetensors(path); });
  if (message.starts_with(folder.path().string() + "/")) message.erase(0, folder.path().string().size() + 1);
  return message;
}

std::string two_tensors(int begin_a, int end_a, int begin_b, int end_b, std::size_t data_bytes) {
  const auto entry = [](int begin, int end) {
    return R"({"dtype":"U8","shape":[)" + std::to_string(end - begin) + R"(],"data_offsets":[)" +
           std::to_string(begin) + "," + std::to_string(end) + "]}";
  };
  return container("{\"a\":" + entry(begin_a, end_a) + ",\"b\":" + entry(begin_b, end_b) + "}", data_bytes);
}

}  // namespace

TEST_CASE("hostile safetensors: the frame") {
  CHECK(failure("") == "f.safetensors: is empty");
  CHECK(failure("1234567") == "f.safetensors: has 7 bytes, expected a safetensors file of at least 8");
  CHECK(failure(length_field(0)) ==
        "f.safetensors: is not a safetensors file: its header does not begin with '{'");
  CHECK(failure(length_field(50) + "{}") ==
        "f.safetensors: announces a header of 50 bytes, but only 2 follow: the file is cut short or damaged");
  CHECK(
      failure(length_field(100'000'001) + "{}") ==
      "f.safetensors: is not a safetensors file: it announces a header of 100000001 bytes, expected at most "
      "100000000");
  CHECK(failure(length_field(~std::uint64_t{0}) + "{}") ==
        "f.safetensors: is not a safetensors file: it announces a header of 18446744073709551615 bytes, "
        "expected at "
        "most 100000000");
}

TEST_CASE("hostile safetensors: the JSON") {
  CHECK(failure(container("[1,2]", 0)) ==
        "f.safetensors: is not a safetensors file: its header does not begin with '{'");
  CHECK(failure(container(" {}", 0)) ==
        "f.safetensors: is not a safetensors file: its header does not begin with '{'");
  CHECK(failure(container("{\"w\":", 0)) == "f.safetensors:1:6: is not valid JSON: syntax error");
  CHECK(failure(container("{}{}", 0)) == "f.safetensors:1:3: is not valid JSON: syntax error");
  CHECK(failure(container("{\"\xc3\x28\":1}", 0)) == "f.safetensors:1:4: is not valid JSON: syntax error");
  CHECK(failure(container(std::string(50'000'000, '{'), 0)) ==
        "f.safetensors:1:2: is not valid JSON: syntax error");
  CHECK(failure(container("{\"w\":" + std::string(50'000'000, '['), 0)) ==
        "f.safetensors: JSON is nested deeper than 3 levels");
  CHECK(failure(one_tensor(R"("dtype":"F32","shape":[[[2]]],"data_offsets":[0,8])")) ==
        "f.safetensors: JSON is nested deeper than 3 levels");
  const std::string entry = R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  CHECK(failure(container("{\"w\":" + entry + ",\"w\":" + entry + "}", 8)) ==
        "f.safetensors: key \"w\" appears twice");
  CHECK(failure(one_tensor(R"("dtype":"F32","shape":[2],"shape":[1],"data_offsets":[0,8])")) ==
        "f.safetensors: key \"shape\" appears twice");
  CHECK(failure(container("{\"w\":3}", 0)) ==
        "f.safetensors: tensor \"w\" is described by number, expected an object");
}

TEST_CASE("hostile safetensors: metadata") {
  CHECK(failure(container(R"({"__metadata__":[]})", 0)) ==
        "f.safetensors: __metadata__ is array, expected an object");
  CHECK(failure(container(R"({"__metadata__":{"step":3}})", 0)) ==
        "f.safetensors: __metadata__ has number for \"step\", expected a string");
  CHECK(failure(container(R"({"__metadata__":{"a":"1","a":"2"}})", 0)) ==
        "f.safetensors: key \"a\" appears twice");
  CHECK(failure(container(R"({"__metadata__":{"a":"1"}})", 0)) == "no error");
}

TEST_CASE("hostile safetensors: dtype and shape") {
  CHECK(failure(one_tensor(R"("shape":[2],"data_offsets":[0,8])")) ==
        "f.safetensors: tensor \"w\" has no \"dtype\"");
  CHECK(failure(one_tensor(R"("dtype":"F32","data_offsets":[0,8])")) ==
        "f.safetensors: tensor \"w\" has no \"shape\"");
  CHECK(failure(one_tensor(R"("dtype":"F32","shape":[2])")) ==
        "f.safetensors: tensor \"w\" has no \"data_offsets\"");
  CHECK(failure(one_tensor(R"("dtype":7,"shape":[2],"data_offsets":[0,8])")) ==
        "f.safetensors: tensor \"w\" has a dtype that is not a string but number");
  CHECK(failure(one_tensor(R"("dtype":"F4","shape":[2],"data_offsets":[0,8])")) ==
        "f.safetensors: tensor \"w\" has the unknown dtype \"F4\", expected one of F64, F32, F16, BF16, I64, "
        "I32, "
        "I16, I8, U8, BOOL, F8_E4M3, F8_E5M2");
  CHECK(failure(one_tensor(R"("dtype":"F32","shape":2,"data_offsets":[0,8])")) ==
        "f.safetensors: tensor \"w\" has a shape that is not an array but number");
  for (const std::string dimension : {"-1", "2.0", "1e3", "\"2\"", "null", "true", "9223372036854775808",
                                      "18446744073709551616", "1e400"}) {
    CAPTURE(dimension);
    const auto message =
        failure(one_tensor("\"dtype\":\"F32\",\"shape\":[" + dimension + "],\"data_offsets\":[0,8]"));
    if (dimension == "1e400") {
      CHECK(message.starts_with("f.safetensors: is not valid JSON"));
    } else {
      CHECK(message.starts_with("f.safetensors: tensor \"w\" has "));
      CHECK(message.ends_with(" in its shape, expected integers from 0 to 2^63 - 1"));
    }
  }
  CHECK(failure(one_tensor(R"("dtype":"F32","shape":[-1],"data_offsets":[0,8])")) ==
        "f.safetensors: tensor \"w\" has \"-1\" in its shape, expected integers from 0 to 2^63 - 1");
  const std::string overflow =
      "f.safetensors: tensor \"w\" has a shape whose size in bytes overflows 64 bits";
  CHECK(failure(one_tensor(R"("dtype":"F32","shape":[9223372036854775807],"data_offsets":[0,8])")) ==
        overflow);
  CHECK(failure(one_tensor(R"("dtype":"F32","shape":[4294967296,4294967296,2],"data_offsets":[0,8])")) ==
        overflow);
  CHECK(failure(one_tensor(R"("dtype":"U8","shape":[4294967296,2147483648,2],"data_offsets":[0,8])")) ==
        overflow);
  CHECK(failure(one_tensor(R"("dtype":"F32","shape":[0,4294967296,4294967296],"data_offsets":[0,0])", 0)) ==
        overflow);  // no bytes, but strides overflow
  std::string ones = "1";
  for (int i = 0; i < 64; ++i) ones += ",1";
  CHECK(failure(one_tensor("\"dtype\":\"F32\",\"shape\":[" + ones + "],\"data_offsets\":[0,4]", 4)) ==
        "f.safetensors: tensor \"w\" has 65 dimensions, expected at most 64");
}

TEST_CASE("hostile safetensors: data_offsets") {
  const auto with = [](const std::string& offsets) {
    return failure(one_tensor("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":" + offsets));
  };
  const std::string no_pair = "f.safetensors: tensor \"w\" has data_offsets that are not a pair [begin, end]";
  CHECK(with("[0,8]") == "no error");
  CHECK(with("8") == no_pair);
  CHECK(with("[]") == no_pair);
  CHECK(with("[0]") == no_pair);
  CHECK(with("[0,4,8]") == no_pair);
  CHECK(with("{\"a\":0,\"b\":8}") == no_pair);
  CHECK(with("[-4,4]") ==
        "f.safetensors: tensor \"w\" has \"-4\" in its data_offsets, expected integers from 0 to 2^63 - 1");
  CHECK(with("[0,8.0]") ==
        "f.safetensors: tensor \"w\" has \"8.0\" in its data_offsets, expected integers from 0 to 2^63 - 1");
  CHECK(with("[0,18446744073709551615]") ==
        "f.safetensors: tensor \"w\" has \"18446744073709551615\" in its data_offsets, expected integers "
        "from 0 to "
        "2^63 - 1");
  CHECK(with("[8,0]") == "f.safetensors: tensor \"w\" has reversed data_offsets [8, 0]");
  CHECK(with("[4,12]") ==
        "f.safetensors: tensor \"w\" has data_offsets [4, 12], but the file holds only 8 bytes of data");
  CHECK(with("[0,9223372036854775807]") ==
        "f.safetensors: tensor \"w\" has data_offsets [0, 9223372036854775807], but the file holds only 8 "
        "bytes of "
        "data");
  CHECK(with("[0,4]") ==
        "f.safetensors: tensor \"w\" has 4 bytes of data, expected 8 for its shape and dtype");
}

TEST_CASE("hostile safetensors: data that overlaps, leaves gaps or goes on") {
  CHECK(failure(two_tensors(0, 4, 4, 8, 8)) == "no error");
  CHECK(failure(two_tensors(4, 8, 0, 4, 8)) == "no error");
  CHECK(failure(two_tensors(0, 4, 4, 4, 4)) == "no error");
  CHECK(failure(two_tensors(0, 5, 4, 8, 8)) ==
        "f.safetensors: tensor \"b\" begins at byte 4 of the data, inside the tensor before it");
  CHECK(failure(two_tensors(0, 8, 0, 8, 8)) ==
        "f.safetensors: tensor \"b\" begins at byte 0 of the data, inside the tensor before it");
  CHECK(failure(two_tensors(0, 8, 4, 4, 8)) ==
        "f.safetensors: tensor \"b\" begins at byte 4 of the data, inside the tensor before it");
  CHECK(failure(two_tensors(0, 3, 4, 8, 8)) ==
        "f.safetensors: tensor \"b\" begins at byte 4 of the data and leaves a gap of 1 bytes before it");
  CHECK(failure(two_tensors(1, 4, 4, 8, 8)) ==
        "f.safetensors: tensor \"a\" begins at byte 1 of the data and leaves a gap of 1 bytes before it");
  CHECK(failure(two_tensors(0, 4, 4, 8, 11)) == "f.safetensors: has 3 bytes after the last tensor");
  CHECK(failure(container("{}", 3)) == "f.safetensors: has 3 bytes after the last tensor");
}

TEST_CASE("hostile safetensors: names in messages cannot reach the terminal") {
  CHECK(failure(container("{\"\\u001b[2J" + std::string(100'000, 'x') + "\":3}", 0)).size() < 300);
  CHECK(failure(container("{\"\\u001b[2J\":3}", 0)) ==
        "f.safetensors: tensor \"\\u001b[2J\" is described by number, expected an object");
}

namespace {

/// Damages a header the way files get damaged and the way an attacker would.
class Mutator {
 public:
  explicit Mutator(std::uint32_t seed) : random_(seed) {}

  std::string operator()(std::string bytes) {
    for (auto changes = below(4) + 1; changes > 0; --changes) change(bytes);
    return bytes;
  }

 private:
  std::size_t below(std::size_t limit) {
    return std::uniform_int_distribution<std::size_t>(0, limit - 1)(random_);
  }

  void change(std::string& bytes) {
    static const std::string tokens[] = {"[",
                                         "]",
                                         "{",
                                         "}",
                                         "\"",
                                         ",",
                                         ":",
                                         "-",
                                         "0",
                                         "9223372036854775807",
                                         "1e9",
                                         "null",
                                         "\"dtype\"",
                                         "\"shape\"",
                                         "\"data_offsets\"",
                                         "\"__metadata__\"",
                                         "\"F64\"",
                                         "\\u0000"};
    const std::size_t at = below(bytes.size());
    switch (below(7)) {
      case 0:
        bytes[at] = static_cast<char>(below(256));
        break;
      case 1:
        bytes[at] = static_cast<char>('0' + below(10));
        break;
      case 2:
        bytes.erase(at, below(8));
        break;
      case 3:
        bytes.insert(at, tokens[below(std::size(tokens))]);
        break;
      case 4:
        bytes.insert(at, bytes.substr(below(bytes.size()), below(60)));
        break;
      case 5:
        bytes.resize(at + 1);
        break;
      case 6:
        bytes[below(std::min<std::size_t>(8, bytes.size()))] = static_cast<char>(below(256));
        break;
    }
    if (bytes.empty()) bytes = "{";
    if (below(2) == 0 && bytes.size() >= 8) {  // keep the frame plausible, so that the JSON is reached
      const auto end = bytes.rfind('}');
      if (end != std::string::npos && end >= 8) bytes.replace(0, 8, length_field(end + 1 - 8));
    }
  }

  std::mt19937 random_;
};

std::string seed_file() {
  return container(
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
      R"("b.weight":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]},"c":{"dtype":"BOOL","shape":[],"data_offsets":[32,33]},)"
      R"("d":{"dtype":"I64","shape":[0,7],"data_offsets":[33,33]}})",
      33);
}

}  // namespace

TEST_CASE("hostile safetensors: a damaged header is refused or harmless") {
  constexpr int rounds = 20'000;
  Mutator mutate(20'240'601);
  int accepted = 0;
  for (int round = 0; round < rounds; ++round) {
    const std::string bytes = mutate(seed_file());
    const std::unique_ptr<char[]> exact(
        new char[bytes.size()]);  // so that a sanitizer sees any step beyond the end
    std::copy(bytes.begin(), bytes.end(), exact.get());
    try {
      const auto header = reno::safetensors::parse_header({exact.get(), bytes.size()}, "fuzz");
      ++accepted;
      for (const auto& entry : header.entries) {
        std::uint64_t elements = 1;
        for (const auto dimension : entry.shape) elements *= static_cast<std::uint64_t>(dimension);
        REQUIRE(entry.begin <= entry.end);
        REQUIRE(entry.end <= bytes.size());
        REQUIRE(entry.end - entry.begin == elements * c10::elementSize(entry.dtype));
      }
    } catch (const LoadError& error) {
      REQUIRE(std::string_view(error.what()).starts_with("fuzz:"));
    }
  }
  CHECK(accepted > rounds / 100);  // or the mutations reach nothing
  CHECK(accepted < rounds / 2);
}

TEST_CASE("hostile safetensors: whatever a damaged file still offers can be read") {
  const TemporaryFolder folder;
  Mutator mutate(7);
  int accepted = 0;
  for (int round = 0; round < 300; ++round) {
    const auto path = folder.write("f.safetensors", mutate(seed_file()));
    try {
      const auto file = reno::open_safetensors(path);
      ++accepted;
      for (const auto& name : file->names()) {
        const auto tensor = file->read(name);
        REQUIRE(tensor.numel() == at::Tensor(tensor.clone()).numel());
      }
    } catch (const LoadError&) {
    }
  }
  CHECK(accepted > 3);
}
