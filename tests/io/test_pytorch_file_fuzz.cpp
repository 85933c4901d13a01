// Damaged files: each opens as something else or is refused with a LoadError; none may crash, hang or
// allocate much.
#include <ATen/ATen.h>
#include <sys/resource.h>

#include <catch2/catch.hpp>
#include <functional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "io/pytorch_builder.hpp"
#include "reno/io/pytorch_contents.hpp"
#include "reno/io/pytorch_file.hpp"

using namespace reno;
using namespace reno::test::pytorch;

namespace {

const char* const seeds[] = {"module_zip.pt", "module_legacy.pt", "flat_old_zip.pt",
                             "flat_zip.pt",   "flat_legacy.pt",   "protocol4_legacy.pt",
                             "nested_zip.pt", "protocol4_zip.pt", "nested_legacy.pt"};

std::string seed_bytes(const char* name) {
  return read_bytes(std::string(RENO_TEST_DATA "/pytorch/") + name);
}

struct Outcome {
  int opened = 0;
  int refused = 0;
};

/// Every tensor lies within its storage, and every storage within the file.
void check_bounds(const PytorchContents& contents, std::string_view file) {
  for (const TensorRecord& tensor : contents.tensors) {
    const auto& storage = contents.storages.at(tensor.storage_key);
    const std::uint64_t end = (tensor.offset + tensor.extent) * c10::elementSize(tensor.dtype);
    if (tensor.extent > 0 && end > storage.bytes.size()) FAIL(tensor.name << " leaves its storage");
    if (storage.bytes.data() < file.data() ||
        storage.bytes.data() + storage.bytes.size() > file.data() + file.size()) {
      FAIL("a storage leaves the file");
    }
  }
}

/// Opens the file and reads every number of every tensor. Anything but a LoadError fails the test.
void try_to_read(const MemoryFile& file, const std::string& bytes, Outcome& outcome) {
  file.write(bytes);
  try {
    const std::vector<char> heap(bytes.begin(), bytes.end());  // where a sanitizer sees reads past the end
    const std::string_view view(heap.data(), heap.size());
    check_bounds(PytorchContentsReader(view, file.path().string(), "").read(), view);
    const auto source = open_pytorch_file(file.path(), {.root = ""});
    for (const std::string& name : source->names()) {
      const at::Tensor tensor = source->read(name);
      if (tensor.sizes() != at::IntArrayRef(source->find(name)->shape)) FAIL("wrong shape of " << name);
      tensor.sum();
    }
    ++outcome.opened;
  } catch (const LoadError& error) {
    if (!std::string_view(error.what()).starts_with(file.path().string()))
      FAIL("names no file: " << error.what());
    ++outcome.refused;
  }
}

long peak_kilobytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

/// Runs `rounds` and makes sure that little memory was ever needed; a sanitizer keeps freed memory for a
/// while.
void sparingly(const std::function<void()>& rounds) {
#ifdef __SANITIZE_ADDRESS__
  constexpr long limit = 1'000'000;
#else
  constexpr long limit = 100'000;
#endif
  const long before = peak_kilobytes();
  rounds();
  CHECK(peak_kilobytes() - before < limit);
}

}  // namespace

TEST_CASE("pytorch: a file cut short at any byte is refused") {
  const MemoryFile file;
  Outcome outcome;
  for (const char* seed : {"module_zip.pt", "module_legacy.pt", "flat_legacy.pt"}) {
    const std::string whole = seed_bytes(seed);
    for (std::size_t size = 0; size < whole.size(); ++size) try_to_read(file, whole.substr(0, size), outcome);
  }
  CHECK(outcome.opened == 0);
  CHECK(outcome.refused > 5000);
}

TEST_CASE("pytorch: every byte of a file may be wrong") {
  sparingly([] {
    const MemoryFile file;
    Outcome outcome;
    for (const char* seed : {"module_zip.pt", "module_legacy.pt"}) {
      const std::string whole = seed_bytes(seed);
      for (std::size_t at = 0; at < whole.size(); ++at) {
        for (const unsigned char flip : {0x01, 0x80, 0xff}) {
          std::string damaged = whole;
          damaged[at] = static_cast<char>(damaged[at] ^ flip);
          try_to_read(file, damaged, outcome);
        }
      }
    }
    CHECK(outcome.refused > 1000);  // structure
    CHECK(outcome.opened > 1000);   // padding, checksums, the numbers themselves
  });
}

TEST_CASE("pytorch: random damage to any file") {
  sparingly([] {
    const MemoryFile file;
    Outcome outcome;
    std::vector<std::string> wholes;
    for (const char* seed : seeds) wholes.push_back(seed_bytes(seed));
    std::mt19937_64 random(1);
    const auto below = [&](std::size_t bound) { return static_cast<std::size_t>(random() % bound); };
    for (int round = 0; round < 20'000; ++round) {
      std::string bytes = wholes[below(wholes.size())];
      for (std::size_t edits = 1 + below(4); edits > 0; --edits) {
        const std::size_t at = below(bytes.size());
        const std::size_t length = std::min(bytes.size() - at, 1 + below(8));
        switch (below(5)) {
          case 0:
            bytes[at] = static_cast<char>(random());
            break;
          case 1:
            bytes.replace(at, length, length, '\xff');
            break;
          case 2:
            bytes.erase(at, length);
            break;
          case 3:
            bytes.insert(at, bytes.substr(below(bytes.size()), length));
            break;
          default:
            bytes.replace(at, length, bytes.substr(below(bytes.size()), length));
            break;
        }
      }
      try_to_read(file, bytes, outcome);
    }
    CHECK(outcome.opened + outcome.refused == 20'000);
    CHECK(outcome.refused > 2000);
  });
}

TEST_CASE("pytorch: random damage to the pickle alone") {
  // The zip file around it stays whole, so that the damage reaches the tensors' descriptions.
  sparingly([] {
    const MemoryFile file;
    Outcome outcome;
    std::mt19937_64 random(5);
    const std::string body = dict({text("a"), tensor({.key = "0", .size = 6}, 1, {2, 2}, {2, 1}), text("b"),
                                   tensor({.type = "BoolStorage", .key = "1", .size = 8}, 0, {8}, {1})});
    for (int round = 0; round < 20'000; ++round) {
      std::string damaged = body;
      for (int edits = 1 + static_cast<int>(random() % 3); edits > 0; --edits) {
        damaged[random() % damaged.size()] = static_cast<char>(random() % 4 ? random() % 16 : random());
      }
      try_to_read(file, pytorch_zip(damaged, {{"0", std::string(24, '\x7f')}, {"1", std::string(8, '\x02')}}),
                  outcome);
    }
    CHECK(outcome.opened > 100);
    CHECK(outcome.refused > 5000);
  });
}
