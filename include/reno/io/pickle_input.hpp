// The bytes of one pickle stream, taken from the front: every length is checked against what is left, and
// every complaint names the byte of the opcode at fault.
#pragma once

#include <fmt/format.h>

#include <bit>
#include <boost/endian/conversion.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "reno/io/pickle_value.hpp"

namespace reno {

/// A cursor over a pickle stream. Everything that is taken is a view of `bytes`, which must outlive it.
class PickleInput {
 public:
  PickleInput(std::string_view bytes, PickleSite site) : bytes_(bytes), site_(std::move(site)) {}

  std::uint64_t position() const { return position_; }
  std::uint64_t remaining() const { return bytes_.size() - position_; }

  /// Begins the next opcode, to which messages refer from now on.
  std::uint8_t take_opcode() {
    opcode_at_ = position_;
    return take_number<std::uint8_t>();
  }
  std::uint64_t opcode_at() const { return opcode_at_; }

  std::string_view take(std::uint64_t size) {
    if (size > remaining()) fail("the pickle is cut short");
    const std::string_view taken = bytes_.substr(position_, size);
    position_ += size;
    return taken;
  }

  template <class Number, boost::endian::order Order = boost::endian::order::little>
  Number take_number() {
    const std::string_view taken = take(sizeof(Number));
    return boost::endian::endian_load<Number, sizeof(Number), Order>(
        reinterpret_cast<const unsigned char*>(taken.data()));
  }

  double take_float() {
    return std::bit_cast<double>(take_number<std::uint64_t, boost::endian::order::big>());
  }

  std::string_view take_string(std::uint64_t size, std::uint64_t limit) {
    if (size > limit) fail(fmt::format("a string of {} bytes is longer than the {} allowed", size, limit));
    return take(size);
  }

  /// Up to the next line break, which is taken too but not returned.
  std::string_view take_line(std::uint64_t limit) {
    const std::size_t length = bytes_.substr(position_, limit).find('\n');
    if (length == std::string_view::npos) fail("a line of the pickle does not end");
    const std::string_view line = take(length);
    ++position_;
    return line;
  }

  /// Throws LoadError, with the byte of the current opcode.
  [[noreturn]] void fail(std::string_view problem) const { site_.fail(opcode_at_, problem); }

 private:
  std::string_view bytes_;
  PickleSite site_;
  std::uint64_t position_ = 0;
  std::uint64_t opcode_at_ = 0;
};

}  // namespace reno
