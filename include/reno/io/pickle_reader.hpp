// A reader for Python's pickle streams (protocols 2 to 5, https://docs.python.org/3/library/pickletools.html)
// that turns them into data and runs nothing: an allow-list of opcodes, an allow-list of Python names, and
// limits on everything that a hostile stream could make large. Memory is at most a small multiple of the
// stream's length.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "reno/io/json_file.hpp"
#include "reno/io/pickle_input.hpp"
#include "reno/io/pickle_opcode.hpp"
#include "reno/io/pickle_value.hpp"

namespace reno {

/// Says whether a stream may name a Python object, and whether it may call it.
using PickleAllowList = PickleGlobalUse (*)(std::string_view module, std::string_view name);

/// Far above any real checkpoint (an object takes about 50 bytes, a state dict has some 30 objects per
/// tensor).
struct PickleLimits {
  std::size_t objects = std::size_t{1} << 21;
  std::size_t stack = std::size_t{1} << 21;
  std::size_t memo = std::size_t{1} << 21;
  std::size_t marks = 1000;                          ///< containers being built inside one another
  std::size_t string_length = std::size_t{1} << 20;  ///< bytes
};

/// Reads one pickle from the front of `bytes`, which must outlive the result. Throws LoadError, with the
/// byte, for anything damaged, forbidden or beyond the limits. `collections.OrderedDict()` becomes a
/// PickleDict, its `_metadata` attribute is dropped, an object of a permitted class becomes a PickleDict of
/// its attributes, every other permitted call stays a PickleCall or None where the allow-list ignores it.
class PickleReader {
 public:
  PickleReader(std::string_view bytes, PickleSite site, PickleAllowList allow, PickleLimits limits = {})
      : input_(bytes, std::move(site)), allow_(allow), limits_(limits) {}

  Pickle read() {
    while (step()) {
    }
    if (stack_.size() != 1 || !marks_.empty()) fail("the pickle ends with unfinished objects");
    pickle_.root = stack_.back();
    pickle_.size = input_.position();
    return std::move(pickle_);
  }

 private:
  /// Executes one opcode; false after STOP.
  bool step() {
    const std::uint8_t opcode = input_.take_opcode();
    // clang-format off
    using enum PickleOpcode;
    switch (PickleOpcode{opcode}) {
      case stop: return false;
      case proto: return check_protocol(input_.take_number<std::uint8_t>());
      case frame: return check_frame(input_.take_number<std::uint64_t>());
      case mark: return push_mark();
      case none: return push(PickleNone{});
      case newtrue: return push(true);
      case newfalse: return push(false);
      case binint: return push(std::int64_t{input_.take_number<std::int32_t>()});
      case binint1: return push(std::int64_t{input_.take_number<std::uint8_t>()});
      case binint2: return push(std::int64_t{input_.take_number<std::uint16_t>()});
      case long1: return push_long(input_.take(input_.take_number<std::uint8_t>()));
      case binfloat: return push(input_.take_float());
      case binunicode: return push(take_string(input_.take_number<std::uint32_t>()));
      case short_binunicode: return push(take_string(input_.take_number<std::uint8_t>()));
      case empty_tuple: return push(PickleTuple{});
      case empty_list: return push(PickleList{});
      case empty_dict: return push(PickleDict{});
      case tuple: return push(PickleTuple{pop_to_mark()});
      case tuple1: return push(PickleTuple{pop_many(1)});
      case tuple2: return push(PickleTuple{pop_many(2)});
      case tuple3: return push(PickleTuple{pop_many(3)});
      case append: return append_items(pop_many(1));
      case appends: return append_items(pop_to_mark());
      case setitem: return set_items(pop_many(2));
      case setitems: return set_items(pop_to_mark());
      case global: return push_global();
      case stack_global: return push_stack_global();
      case reduce: return make_call();
      case newobj: return make_object();
      case build: return set_attributes();
      case binpersid: return push(PicklePersistentId{pop()});
      case memoize: return remember(static_cast<std::uint32_t>(memo_.size()));
      case binput: return remember(input_.take_number<std::uint8_t>());
      case long_binput: return remember(input_.take_number<std::uint32_t>());
      case binget: return push_remembered(input_.take_number<std::uint8_t>());
      case long_binget: return push_remembered(input_.take_number<std::uint32_t>());
      default: refuse_opcode(opcode);
    }
    // clang-format on
  }

  [[noreturn]] void fail(std::string_view problem) const { input_.fail(problem); }

  [[noreturn]] void refuse_opcode(std::uint8_t opcode) const {
    fail(fmt::format("the pickle opcode {} is not allowed; only tensors and plain data are read",
                     refused_opcode_name(opcode)));
  }

  std::string_view take_string(std::uint64_t size) { return input_.take_string(size, limits_.string_length); }

  bool check_protocol(std::uint8_t protocol) const {
    if (protocol < 2 || protocol > 5) {
      fail(fmt::format("pickle protocol {} is not supported; 2 to 5 are", protocol));
    }
    return true;
  }

  bool check_frame(std::uint64_t size) const {
    if (size > input_.remaining()) fail("the pickle is cut short");
    return true;
  }

  // ---- stack ----
  bool push_ref(PickleRef ref) {
    if (stack_.size() >= limits_.stack) fail("the pickle's stack grows too large");
    stack_.push_back(ref);
    return true;
  }

  template <class T>
  bool push(T value) {
    if (pickle_.nodes.size() >= limits_.objects)
      fail(fmt::format("the pickle has more than {} objects", limits_.objects));
    pickle_.nodes.push_back({std::move(value), input_.opcode_at()});
    return push_ref(static_cast<PickleRef>(pickle_.nodes.size() - 1));
  }

  bool push_mark() {
    if (marks_.size() >= limits_.marks)
      fail(fmt::format("objects are nested more than {} deep", limits_.marks));
    marks_.push_back(stack_.size());
    return true;
  }

  /// The objects above the last mark, which are all that an opcode may touch.
  std::span<const PickleRef> reachable() const {
    return std::span<const PickleRef>(stack_).subspan(marks_.empty() ? 0 : marks_.back());
  }

  std::vector<PickleRef> pop_many(std::size_t count) {
    const std::span<const PickleRef> available = reachable();
    if (available.size() < count) fail("the pickle takes an object that is not there");
    const auto taken = available.last(count);
    std::vector<PickleRef> result(taken.begin(), taken.end());
    stack_.resize(stack_.size() - count);
    return result;
  }

  PickleRef pop() { return pop_many(1).front(); }

  std::vector<PickleRef> pop_to_mark() {
    if (marks_.empty()) fail("the pickle closes an object that it has not opened");
    std::vector<PickleRef> result = pop_many(reachable().size());
    marks_.pop_back();
    return result;
  }

  /// The object on top of the stack if it is a T; it stays there.
  template <class T>
  T& top(std::string_view expected) {
    if (reachable().empty()) fail("the pickle takes an object that is not there");
    T* value = std::get_if<T>(&pickle_.nodes[stack_.back()].value);
    if (!value) fail(fmt::format("the pickle changes something that is not a {}", expected));
    return *value;
  }

  // ---- opcodes ----
  bool push_long(std::string_view little_endian) {
    if (little_endian.size() > 8) return push(PickleBigInteger{little_endian});
    const bool negative = !little_endian.empty() && (little_endian.back() & 0x80);
    std::uint64_t value = negative ? ~std::uint64_t{0} : 0;
    for (std::size_t i = little_endian.size(); i-- > 0;)
      value = value << 8 | static_cast<unsigned char>(little_endian[i]);
    return push(static_cast<std::int64_t>(value));
  }

  bool append_items(std::vector<PickleRef> items) {
    auto& list = top<PickleList>("list").items;
    list.insert(list.end(), items.begin(), items.end());
    return true;
  }

  bool set_items(std::vector<PickleRef> items) {
    auto& dict = top<PickleDict>("dictionary").items;
    if (items.size() % 2 != 0) fail("the pickle sets a key without a value");
    for (std::size_t i = 0; i < items.size(); i += 2) dict.emplace_back(items[i], items[i + 1]);
    return true;
  }

  bool push_global() {
    const std::string_view module = input_.take_line(limits_.string_length);
    return push_global(module, input_.take_line(limits_.string_length));
  }

  bool push_stack_global() {
    const std::vector<PickleRef> names = pop_many(2);
    const auto* module = pickle_.get<std::string_view>(names[0]);
    const auto* name = pickle_.get<std::string_view>(names[1]);
    if (!module || !name) fail("the pickle names a Python object by something that is not a string");
    return push_global(*module, *name);
  }

  bool push_global(std::string_view module, std::string_view name) {
    const PickleGlobalUse use = allow_(module, name);
    if (use == PickleGlobalUse::refused) {
      fail(
          fmt::format("the pickle asks for the Python object {}, which is not allowed; only tensors and "
                      "plain data are read, and no code of a weights file is ever run",
                      in_quotes(fmt::format("{}.{}", module, name))));
    }
    return push(PickleGlobal{module, name, use});
  }

  bool make_call() {
    const std::vector<PickleRef> call = pop_many(2);
    const auto* function = pickle_.get<PickleGlobal>(call[0]);
    const auto* arguments = pickle_.get<PickleTuple>(call[1]);
    const auto use = function ? function->use : PickleGlobalUse::refused;
    if (!arguments || (use != PickleGlobalUse::callable && use != PickleGlobalUse::ignored)) {
      fail(fmt::format("the pickle calls {}, which is not a function that it may call",
                       function ? fmt::format("{}.{}", function->module, function->name) : "an object"));
    }
    if (use == PickleGlobalUse::ignored) return push(PickleNone{});
    if (!function->is("collections", "OrderedDict")) return push(PickleCall{call[0], call[1]});
    if (!arguments->items.empty()) fail("an OrderedDict is built in a way that is not supported");
    return push(PickleDict{});
  }

  /// NEWOBJ, with the class and no arguments; nothing is constructed.
  bool make_object() {
    const std::vector<PickleRef> operands = pop_many(2);
    const auto* type = pickle_.get<PickleGlobal>(operands[0]);
    const auto* arguments = pickle_.get<PickleTuple>(operands[1]);
    if (!type || type->use != PickleGlobalUse::object || !arguments || !arguments->items.empty())
      fail("the pickle makes an object that it may not make");
    return push(PickleDict{.items = {}, .of_object = true});
  }

  /// BUILD sets attributes. The one that state dicts have is `_metadata` (module versions), of no use here.
  bool set_attributes() {
    const std::vector<PickleRef> operands = pop_many(2);
    const auto* state = pickle_.get<PickleDict>(operands[1]);
    auto* object = std::get_if<PickleDict>(&pickle_.nodes[operands[0]].value);
    if (object && object->of_object && object->items.empty() && state) {
      object->items.swap(
          std::get<PickleDict>(pickle_.nodes[operands[1]].value).items);  // a copy could be repeated
      return push_ref(operands[0]);
    }
    const bool only_metadata = state && state->items.size() == 1 && pickle_.find(*state, "_metadata");
    if (!pickle_.get<PickleDict>(operands[0]) || !only_metadata) {
      fail("the pickle opcode BUILD is allowed only for a state dict's _metadata and an object's attributes");
    }
    return push_ref(operands[0]);
  }

  bool remember(std::uint32_t key) {
    if (reachable().empty()) fail("the pickle remembers an object that is not there");
    if (memo_.size() >= limits_.memo)
      fail(fmt::format("the pickle remembers more than {} objects", limits_.memo));
    memo_[key] = stack_.back();
    return true;
  }

  bool push_remembered(std::uint32_t key) {
    const auto found = memo_.find(key);
    if (found == memo_.end())
      fail(fmt::format("the pickle recalls object {}, which it never remembered", key));
    return push_ref(found->second);
  }

  PickleInput input_;
  PickleAllowList allow_;
  PickleLimits limits_;
  Pickle pickle_;
  std::vector<PickleRef> stack_;
  std::vector<std::size_t> marks_;  ///< height of the stack at each open MARK
  std::unordered_map<std::uint32_t, PickleRef> memo_;
};

}  // namespace reno
