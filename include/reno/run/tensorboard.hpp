// Event files for TensorBoard: a sequence of TFRecords (length, checksum, data, checksum; TensorFlow's
// tensorflow/core/lib/io/record_writer.h), each holding one `Event` (tensorflow/core/util/event.proto) in
// protocol buffers' wire format. The few fields that are needed are encoded here.
#pragma once

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <bit>
#include <boost/crc.hpp>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "reno/image/png.hpp"
#include "reno/io/append_file.hpp"

namespace reno {

namespace detail {

template <class Unsigned>
void append_little_endian(std::string& bytes, Unsigned value) {
  for (std::size_t i = 0; i < sizeof(Unsigned); ++i) bytes.push_back(static_cast<char>(value >> (8 * i)));
}

/// A protocol-buffers message under construction (https://protobuf.dev/programming-guides/encoding).
class Message {
 public:
  Message& integer(int field, std::int64_t value) {
    tag(field, 0);
    varint(static_cast<std::uint64_t>(value));
    return *this;
  }
  Message& real64(int field, double value) {
    tag(field, 1);
    append_little_endian(bytes_, std::bit_cast<std::uint64_t>(value));
    return *this;
  }
  Message& real32(int field, float value) {
    tag(field, 5);
    append_little_endian(bytes_, std::bit_cast<std::uint32_t>(value));
    return *this;
  }
  Message& text(int field, std::string_view value) {
    tag(field, 2);
    varint(value.size());
    bytes_ += value;
    return *this;
  }
  Message& message(int field, const Message& value) { return text(field, value.bytes_); }

  const std::string& bytes() const { return bytes_; }

 private:
  void tag(int field, unsigned wire_type) { varint(static_cast<unsigned>(field) << 3 | wire_type); }
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_.push_back(static_cast<char>(value | 0x80));
    bytes_.push_back(static_cast<char>(value));
  }

  std::string bytes_;
};

/// CRC-32C, rotated and shifted as TFRecord wants it, since checksums of data that hold checksums are weak.
inline std::uint32_t masked_crc32c(std::string_view bytes) {
  boost::crc_optimal<32, 0x1EDC6F41, 0xFFFFFFFF, 0xFFFFFFFF, true, true> crc;
  crc.process_bytes(bytes.data(), bytes.size());
  return std::rotr(crc.checksum(), 15) + 0xA282EAD8U;
}

inline std::string tf_record(std::string_view data) {
  std::string record;
  append_little_endian<std::uint64_t>(record, data.size());
  append_little_endian(record, masked_crc32c(record));
  record += data;
  append_little_endian(record, masked_crc32c(data));
  return record;
}

}  // namespace detail

/// One event file; TensorBoard shows each folder that has some as one run. Every call is one write, so a
/// viewer may look while the run goes on. Throws RunError.
class TensorBoardLog {
 public:
  /// Creates the folder and a file of a new name in it.
  explicit TensorBoardLog(const std::filesystem::path& folder) : file_(new_file(folder)) {
    append(event().text(3, "brain.Event:2"));
  }

  void scalars(std::int64_t step, const std::vector<std::pair<std::string, double>>& values) {
    detail::Message summary;
    for (const auto& [name, value] : values) {
      summary.message(1, detail::Message().text(1, name).real32(2, static_cast<float>(value)));
    }
    append(event(step).message(5, summary));
  }

  /// image: (3,H,W) in [0,1].
  void image(std::int64_t step, std::string_view name, const at::Tensor& image) {
    constexpr std::int64_t rgb = 3;
    const auto picture = detail::Message()
                             .integer(1, image.size(1))
                             .integer(2, image.size(2))
                             .integer(3, rgb)
                             .text(4, encode_png(image));
    append(event(step).message(
        5, detail::Message().message(1, detail::Message().text(1, name).message(4, picture))));
  }

 private:
  static AppendFile new_file(const std::filesystem::path& folder) {
    static std::atomic<unsigned> counter{0};
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error) throw RunError(fmt::format("{}: cannot be created: {}", folder.string(), error.message()));
    std::array<char, 256> host{};
    ::gethostname(host.data(), host.size() - 1);
    return AppendFile(folder / fmt::format("events.out.tfevents.{:010}.{}.{}.{}",
                                           static_cast<std::int64_t>(now()), host.data(), ::getpid(),
                                           counter++));
  }

  static double now() {
    return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  }

  static detail::Message event(std::int64_t step = 0) {
    return detail::Message().real64(1, now()).integer(2, step);
  }

  void append(const detail::Message& event) { file_.append(detail::tf_record(event.bytes())); }

  AppendFile file_;
};

}  // namespace reno
