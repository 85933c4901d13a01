// What a pickle stream says, as plain data: a tree of nodes in one vector, linked by index. Nothing is
// executed and nothing recursive is destroyed, so neither a hostile call nor hostile nesting can do harm;
// calls and persistent ids stay symbolic until somebody who knows them (pickle_state_dict.hpp) reads them.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "reno/error.hpp"
#include "reno/io/json_file.hpp"

namespace reno {

/// Index of a node of a Pickle.
using PickleRef = std::uint32_t;

struct PickleNone {};
/// An integer wider than 64 bits: its little-endian two's complement.
struct PickleBigInteger {
  std::string_view bytes;
};
/// What an allow-list says of a Python name: not even to be mentioned, to be compared with, a function whose
/// calls are kept as such, one whose calls are passed over, a class whose objects are their attributes.
enum class PickleGlobalUse { refused, reference, callable, ignored, object };
/// A Python name such as `torch.FloatStorage`. It is only ever compared.
struct PickleGlobal {
  std::string_view module, name;
  PickleGlobalUse use = PickleGlobalUse::refused;
  bool is(std::string_view other_module, std::string_view other_name) const {
    return module == other_module && name == other_name;
  }
};
struct PickleTuple {
  std::vector<PickleRef> items;
};
struct PickleList {
  std::vector<PickleRef> items;
};
/// A dict or OrderedDict, in the stream's order, with whatever keys it wrote; or an object's attributes.
struct PickleDict {
  std::vector<std::pair<PickleRef, PickleRef>> items;
  bool of_object = false;
};
/// A call that was asked for and not made.
struct PickleCall {
  PickleRef function, arguments;
};
/// A reference to something outside the stream, here a storage.
struct PicklePersistentId {
  PickleRef id;
};

struct PickleNode {
  std::variant<PickleNone, bool, std::int64_t, double, std::string_view, PickleBigInteger, PickleGlobal,
               PickleTuple, PickleList, PickleDict, PickleCall, PicklePersistentId>
      value;
  std::uint64_t byte = 0;  ///< where in the stream it was made
};

/// One pickle. Strings are views of the bytes it was read from.
struct Pickle {
  std::vector<PickleNode> nodes;
  PickleRef root = 0;
  std::uint64_t size = 0;  ///< bytes up to and including STOP

  /// The value at `ref` if it is a T, otherwise null.
  template <class T>
  const T* get(PickleRef ref) const {
    return std::get_if<T>(&nodes[ref].value);
  }

  /// The value that the dictionary has for `key`; as in Python, a later one replaces an earlier one. Null if
  /// none.
  const PickleRef* find(const PickleDict& dict, std::string_view key) const {
    const PickleRef* found = nullptr;
    for (const auto& [key_ref, value_ref] : dict.items) {
      const auto* text = get<std::string_view>(key_ref);
      if (text && *text == key) found = &value_ref;
    }
    return found;
  }
};

/// Where a pickle stream lies, for messages.
struct PickleSite {
  std::string file;
  std::string member;       ///< of the zip file; empty if the stream lies in the file itself
  std::uint64_t start = 0;  ///< of the stream in the file or member

  /// Throws LoadError with the byte counted from the beginning of the file or member.
  [[noreturn]] void fail(std::uint64_t byte, std::string_view problem) const {
    const std::string within = member.empty() ? "" : " of " + in_quotes(member);
    throw LoadError(fmt::format("{}: byte {}{}: {}", file, start + byte, within, problem));
  }
};

}  // namespace reno
