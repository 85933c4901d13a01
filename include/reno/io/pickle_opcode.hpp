// The opcodes of pickle streams under the names that Python's pickletools prints: an enumeration of those
// that are read, and the names of the others for the sentence that refuses them.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace reno {

// clang-format off
/// Opcodes that PickleReader executes; all that torch.save uses for state dicts (protocols 2 to 5), and torch.jit.save.
enum class PickleOpcode : std::uint8_t {
  mark = '(', stop = '.', binfloat = 'G', binint = 'J', binint1 = 'K', binint2 = 'M', none = 'N',
  binpersid = 'Q', reduce = 'R', binunicode = 'X', append = 'a', build = 'b', global = 'c', appends = 'e',
  binget = 'h', long_binget = 'j', binput = 'q', long_binput = 'r', setitem = 's', tuple = 't',
  setitems = 'u', empty_tuple = ')', empty_list = ']', empty_dict = '}', proto = 0x80, newobj = 0x81, tuple1 = 0x85,
  tuple2 = 0x86, tuple3 = 0x87, newtrue = 0x88, newfalse = 0x89, long1 = 0x8a, short_binunicode = 0x8c,
  stack_global = 0x93, memoize = 0x94, frame = 0x95
};

/// The opcodes that pickle has besides, which a state dict does not need.
inline constexpr auto refused_pickle_opcodes = std::to_array<std::pair<std::uint8_t, std::string_view>>({
    {'0', "POP"}, {'1', "POP_MARK"}, {'2', "DUP"}, {'F', "FLOAT"}, {'I', "INT"}, {'L', "LONG"},
    {'P', "PERSID"}, {'S', "STRING"}, {'T', "BINSTRING"}, {'U', "SHORT_BINSTRING"}, {'V', "UNICODE"},
    {'B', "BINBYTES"}, {'C', "SHORT_BINBYTES"}, {'d', "DICT"}, {'g', "GET"}, {'i', "INST"}, {'l', "LIST"},
    {'o', "OBJ"}, {'p', "PUT"}, {0x82, "EXT1"}, {0x83, "EXT2"}, {0x84, "EXT4"},
    {0x8b, "LONG4"}, {0x8d, "BINUNICODE8"}, {0x8e, "BINBYTES8"}, {0x8f, "EMPTY_SET"}, {0x90, "ADDITEMS"},
    {0x91, "FROZENSET"}, {0x92, "NEWOBJ_EX"}, {0x96, "BYTEARRAY8"}, {0x97, "NEXT_BUFFER"},
    {0x98, "READONLY_BUFFER"},
});
// clang-format on

/// "OBJ (0x6f)" for an opcode that is not read, "0xff" if pickle does not have it either.
inline std::string refused_opcode_name(std::uint8_t opcode) {
  const auto* found =
      std::ranges::find(refused_pickle_opcodes, opcode, &std::pair<std::uint8_t, std::string_view>::first);
  return found == refused_pickle_opcodes.end() ? fmt::format("{:#04x}", opcode)
                                               : fmt::format("{} ({:#04x})", found->second, opcode);
}

}  // namespace reno
