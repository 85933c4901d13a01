// Event files, parsed back by a reader of TFRecords and protocol buffers of its own.
#include <catch2/catch.hpp>
#include <cstring>
#include <fstream>
#include <map>

#include "reno/run/tensorboard.hpp"
#include "support/program.hpp"

namespace {

using namespace reno;
using namespace reno::test;
namespace fs = std::filesystem;

/// Field number -> values, of one message: varints and fixed numbers as integers, texts and messages as
/// bytes.
struct Fields {
  std::multimap<int, std::uint64_t> numbers;
  std::multimap<int, std::string> texts;

  explicit Fields(std::string_view bytes) {
    const auto varint = [&] {
      std::uint64_t value = 0;
      for (int shift = 0;; shift += 7) {
        REQUIRE_FALSE(bytes.empty());
        const auto byte = static_cast<unsigned char>(bytes.front());
        bytes.remove_prefix(1);
        value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
        if (byte < 0x80) return value;
      }
    };
    const auto take = [&](std::size_t size) {
      REQUIRE(size <= bytes.size());
      const auto part = bytes.substr(0, size);
      bytes.remove_prefix(size);
      return part;
    };
    while (!bytes.empty()) {
      const auto tag = varint();
      const int field = static_cast<int>(tag >> 3);
      std::uint64_t number = 0;
      switch (tag & 7) {
        case 0:
          numbers.emplace(field, varint());
          break;
        case 1:
          std::memcpy(&number, take(8).data(), 8);
          numbers.emplace(field, number);
          break;
        case 2:
          texts.emplace(field, take(varint()));
          break;
        case 5:
          std::memcpy(&number, take(4).data(), 4);
          numbers.emplace(field, number);
          break;
        default:
          FAIL("wire type " << (tag & 7));
      }
    }
  }

  float real(int field) const {
    return std::bit_cast<float>(static_cast<std::uint32_t>(numbers.find(field)->second));
  }
};

/// CRC-32C bit by bit, as its polynomial is written down in RFC 3720.
std::uint32_t crc32c(std::string_view bytes) {
  std::uint32_t crc = 0xFFFFFFFF;
  for (const char byte : bytes) {
    crc ^= static_cast<unsigned char>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78U : 0U);
  }
  return ~crc;
}

std::vector<Fields> read_events(const fs::path& file) {
  const std::string bytes = read_file(file);
  const auto checked = [&](std::size_t at, std::size_t size) {
    REQUIRE(at + size + 4 <= bytes.size());
    const auto part = std::string_view(bytes).substr(at, size);
    std::uint32_t stored = 0;
    std::memcpy(&stored, bytes.data() + at + size, 4);
    const std::uint32_t unmasked = stored - 0xA282EAD8U;
    REQUIRE((unmasked >> 17 | unmasked << 15) == crc32c(part));
    return part;
  };
  std::vector<Fields> events;
  for (std::size_t at = 0; at < bytes.size();) {
    std::uint64_t size = 0;
    std::memcpy(&size, checked(at, 8).data(), 8);
    events.emplace_back(checked(at + 12, size));
    at += 16 + size;
  }
  return events;
}

TEST_CASE("checksums agree with published values", "[tensorboard]") {
  // RFC 3720, appendix B.4: 32 bytes of zeros, of ones, and 0, 1, ... 31.
  std::string ascending;
  for (char c = 0; c < 32; ++c) ascending.push_back(c);
  const std::map<std::string, std::uint32_t> published = {{std::string(32, '\0'), 0x8A9136AA},
                                                          {std::string(32, '\xFF'), 0x62A8AB43},
                                                          {ascending, 0x46DD794E},
                                                          {"123456789", 0xE3069283}};
  for (const auto& [bytes, crc] : published) {
    CHECK(crc32c(bytes) == crc);
    CHECK(reno::detail::masked_crc32c(bytes) == (crc >> 15 | crc << 17) + 0xA282EAD8U);
  }
}

TEST_CASE("an event file holds version, scalars and images", "[tensorboard]") {
  const TemporaryFolder folder;
  const at::Tensor picture = at::full({3, 5, 7}, 0.5);
  {
    TensorBoardLog log(folder.path() / "a" / "b");
    log.scalars(0, {{"score/square", -1.5}, {"loss/total", 1e30}});
    log.image(300, "image/best", picture);
    TensorBoardLog second(folder.path() / "a" / "b");  // a resumed run has a file of its own
  }
  std::vector<fs::path> files;
  for (const auto& item : fs::directory_iterator(folder.path() / "a" / "b")) files.push_back(item.path());
  REQUIRE(files.size() == 2);
  std::sort(files.begin(), files.end());
  CHECK_THAT(files[0].filename().string(), Catch::StartsWith("events.out.tfevents."));

  const auto events = read_events(files[0]);
  REQUIRE(events.size() == 3);
  CHECK(events[0].texts.find(3)->second == "brain.Event:2");
  for (const auto& event : events) CHECK(std::bit_cast<double>(event.numbers.find(1)->second) > 1.6e9);

  const Fields summary(events[1].texts.find(5)->second);
  REQUIRE(summary.texts.count(1) == 2);
  const Fields first(summary.texts.find(1)->second);
  CHECK(first.texts.find(1)->second == "score/square");
  CHECK(first.real(2) == -1.5F);
  CHECK(Fields(std::next(summary.texts.find(1))->second).real(2) == 1e30F);

  CHECK(events[2].numbers.find(2)->second == 300);
  const Fields value(Fields(events[2].texts.find(5)->second).texts.find(1)->second);
  CHECK(value.texts.find(1)->second == "image/best");
  const Fields image(value.texts.find(4)->second);
  CHECK(image.numbers.find(1)->second == 5);
  CHECK(image.numbers.find(2)->second == 7);
  CHECK(image.texts.find(4)->second == encode_png(picture));
}

TEST_CASE("a folder that cannot be made is an error", "[tensorboard]") {
  CHECK_THROWS_WITH(TensorBoardLog("/proc/reno"), Catch::Contains("/proc/reno: cannot be created"));
}

}  // namespace
