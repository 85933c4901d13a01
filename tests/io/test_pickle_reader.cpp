#include <catch2/catch.hpp>
#include <cstdint>
#include <string>

#include "io/pytorch_builder.hpp"
#include "reno/io/pickle_reader.hpp"

using Catch::Matchers::Contains;
using namespace reno;
using namespace reno::test::pytorch;

namespace {

PickleGlobalUse allow(std::string_view module, std::string_view name) {
  if (module == "collections" && name == "OrderedDict") return PickleGlobalUse::callable;
  if (module == "m" && name == "function") return PickleGlobalUse::callable;
  return module == "m" && name == "name" ? PickleGlobalUse::reference : PickleGlobalUse::refused;
}

/// The stream is only viewed, so it must outlive the pickle.
Pickle read(const std::string& stream, PickleLimits limits = {}) {
  return PickleReader(stream, {"x.pt", "r/data.pkl"}, allow, limits).read();
}
std::string error_of(const std::string& stream, PickleLimits limits = {}) {
  return load_error([&] { read(stream, limits); });
}

}  // namespace

TEST_CASE("pickle: integers of all widths") {
  const auto value = [](const std::string& body) {
    const std::string stream = pickle(body);
    const Pickle p = read(stream);
    const auto* number = p.get<std::int64_t>(p.root);
    REQUIRE(number);
    return *number;
  };
  CHECK(value("K\xff") == 255);
  CHECK(value("M\xff\xff") == 65535);
  CHECK(value("J\xff\xff\xff\xff") == -1);
  CHECK(value("J\x00\x00\x00\x80"s) == -2147483648);
  CHECK(value("\x8a\x00"s) == 0);
  CHECK(value("\x8a\x01\xff") == -1);
  CHECK(value("\x8a\x02\xff\x00"s) == 255);
  CHECK(value("\x8a\x06\x00\x00\x00\x00\x00\x01"s) == std::int64_t{1} << 40);
  CHECK(value(number(INT64_MIN)) == INT64_MIN);
  CHECK(value(number(INT64_MAX)) == INT64_MAX);
}

TEST_CASE("pickle: wider integers keep their bytes") {
  const std::string stream = pickle("\x8a\x09"s + "123456789");
  const Pickle p = read(stream);
  CHECK(p.get<PickleBigInteger>(p.root)->bytes == "123456789");
}

TEST_CASE("pickle: floats, strings and constants") {
  const std::string stream =
      pickle("(NG\x3f\xf8\x00\x00\x00\x00\x00\x00\x88\x89"s + text("é") + "\x8c\x03" + "abct");
  const Pickle p = read(stream);
  const auto& items = p.get<PickleTuple>(p.root)->items;
  REQUIRE(items.size() == 6);
  CHECK(p.get<PickleNone>(items[0]));
  CHECK(*p.get<double>(items[1]) == 1.5);
  CHECK(*p.get<bool>(items[2]));
  CHECK(!*p.get<bool>(items[3]));
  CHECK(*p.get<std::string_view>(items[4]) == "é");
  CHECK(*p.get<std::string_view>(items[5]) == "abc");
}

TEST_CASE("pickle: containers, and references through the memo") {
  const std::string stream = pickle("]q\x05(" + text("a") + "\x94h\x01j\x05\x00\x00\x00"s + "e");
  const Pickle p = read(stream);
  const auto& items = p.get<PickleList>(p.root)->items;
  REQUIRE(items.size() == 3);
  CHECK(items[0] == items[1]);
  CHECK(items[2] == p.root);  // a list that contains itself is only an index
}

TEST_CASE("pickle: a later value of a key replaces an earlier one") {
  const std::string stream = pickle(dict({text("a"), number(1), text("b"), number(2), text("a"), number(3)}));
  const Pickle p = read(stream);
  CHECK(*p.get<std::int64_t>(*p.find(*p.get<PickleDict>(p.root), "a")) == 3);
}

TEST_CASE("pickle: an OrderedDict is a dictionary and its _metadata is dropped") {
  const std::string stream = pickle(ordered_dict() + "(" + text("k") + number(1) + "u" +
                                    dict({text("_metadata"), ordered_dict()}) + "b");
  const Pickle p = read(stream);
  CHECK(p.get<PickleDict>(p.root)->items.size() == 1);
}

TEST_CASE("pickle: permitted calls stay symbolic") {
  const std::string stream = pickle(call(global("m", "function"), tuple({number(7)})));
  const Pickle p = read(stream);
  const auto* node = p.get<PickleCall>(p.root);
  REQUIRE(node);
  CHECK(p.get<PickleGlobal>(node->function)->is("m", "function"));
  CHECK(p.get<PickleTuple>(node->arguments)->items.size() == 1);
}

TEST_CASE("pickle: its size tells where the next one begins") {
  const std::string first = pickle(number(1));
  const std::string both = first + pickle(number(2));
  CHECK(read(both).size == first.size());
}

TEST_CASE("pickle: other Python objects are refused by name and byte") {
  CHECK_THAT(error_of(pickle(dict({text("a"), global("os", "system")}))),
             Contains("x.pt: byte 10 of \"r/data.pkl\": ") && Contains("\"os.system\""));
  CHECK_THAT(error_of(pickle(call(global("posix", "system"), tuple({text("true")})))),
             Contains("byte 2 of") && Contains("\"posix.system\""));
  CHECK_THAT(error_of("\x80\x04\x8c\x08"s + "builtins\x8c\x04" + "eval\x93."),
             Contains("byte 18 of") && Contains("\"builtins.eval\""));
  CHECK_THAT(error_of(pickle(global("collections", "OrderedDict.fromkeys"))), Contains("not allowed"));
  CHECK_THAT(error_of(pickle(global("a\x1b[2Jb", "c"))), Contains("a\\u001b[2Jb.c"));  // fit for a terminal
}

TEST_CASE("pickle: only permitted functions are called, and only with arguments") {
  CHECK_THAT(error_of(pickle(call(global("m", "name"), ")"))),
             Contains("calls m.name, which is not a function"));
  CHECK_THAT(error_of(pickle(call(text("function"), ")"))), Contains("calls an object"));
  CHECK_THAT(error_of(pickle(call(global("m", "function"), "N"))), Contains("calls m.function"));
  CHECK_THAT(error_of(pickle(call(global("collections", "OrderedDict"), tuple({list({})})))),
             Contains("not supported"));
}

TEST_CASE("pickle: other opcodes are refused by name and byte") {
  CHECK_THAT(error_of(pickle(global("m", "name") + ")\x81")),
             Contains("byte 11 of") && Contains("an object that it may not make"));
  CHECK_THAT(error_of(pickle("(i__main__\nx\n")), Contains("INST (0x69)"));
  CHECK_THAT(error_of(pickle("\xff")), Contains("opcode 0xff"));
  CHECK_THAT(error_of(pickle("\x8d\xff\xff\xff\xff\xff\xff\xff\xff")), Contains("BINUNICODE8 (0x8d)"));
  CHECK_THAT(error_of(pickle("\x8b\xff\xff\xff\x7f")), Contains("LONG4 (0x8b)"));
}

TEST_CASE("pickle: BUILD sets nothing but _metadata") {
  const std::string message = "only for a state dict's _metadata";
  const std::string metadata = dict({text("_metadata"), "}"});
  CHECK_THAT(error_of(pickle("}" + dict({text("__class__"), number(1)}) + "b")), Contains(message));
  CHECK_THAT(error_of(pickle("}" + dict({text("_metadata"), "}", text("x"), "}"}) + "b")), Contains(message));
  CHECK_THAT(error_of(pickle("]" + metadata + "b")), Contains(message));
  CHECK_THAT(error_of(pickle(global("m", "function") + metadata + "b")), Contains(message));
  CHECK_THAT(error_of(pickle("}Nb")), Contains(message));
}

TEST_CASE("pickle: every prefix is refused") {
  const std::string values = tuple({number(5), "G12345678", global("m", "name"), "]K\1a", "K\1\x85"});
  const std::string stream =
      "\x80\x04\x95" + u64(0) + dict({text("key"), values, "\x8c\x01k", "\x94h\x00"s}) + ".";
  CHECK_NOTHROW(read(stream));
  for (std::size_t size = 0; size < stream.size(); ++size) {
    const std::string prefix = stream.substr(0, size);
    CHECK_THROWS_AS(read(prefix), LoadError);
  }
}

TEST_CASE("pickle: lying lengths are refused without allocating") {
  CHECK_THAT(error_of(pickle("X\xff\xff\xff\xff")), Contains("4294967295 bytes is longer"));
  CHECK_THAT(error_of(pickle("X\xff\xff\x00\x00"s)), Contains("cut short"));
  CHECK_THAT(error_of(pickle("\x8c\xff")), Contains("cut short"));
  CHECK_THAT(error_of(pickle("\x8a\xff")), Contains("cut short"));
  CHECK_THAT(error_of(pickle("\x95\xff\xff\xff\xff\xff\xff\xff\xff")), Contains("cut short"));
  CHECK_THAT(error_of(pickle("cmodule")), Contains("does not end"));
}

TEST_CASE("pickle: the stack is guarded") {
  CHECK_THAT(error_of("."), Contains("unfinished"));
  CHECK_THAT(error_of(pickle("NN")), Contains("unfinished"));
  CHECK_THAT(error_of(pickle("(N")), Contains("unfinished"));
  CHECK_THAT(error_of(pickle("t")), Contains("has not opened"));
  CHECK_THAT(error_of(pickle("N(\x85")), Contains("not there"));  // must not reach below the mark
  CHECK_THAT(error_of(pickle("}(Nu")), Contains("without a value"));
  CHECK_THAT(error_of(pickle("N(NNu")), Contains("not a dictionary"));
  CHECK_THAT(error_of(pickle("}Na")), Contains("not a list"));
  CHECK_THAT(error_of(pickle("q\x01")), Contains("not there"));
  CHECK_THAT(error_of(pickle("h\x01")), Contains("recalls object 1"));
  CHECK_THAT(error_of(pickle("NN\x93")), Contains("not a string"));
}

TEST_CASE("pickle: only binary protocols are read") {
  CHECK_THAT(error_of("\x80\x01N."), Contains("protocol 1 is not supported"));
  CHECK_THAT(error_of("\x80\x06N."), Contains("protocol 6 is not supported"));
}

TEST_CASE("pickle: bombs meet a limit") {
  constexpr std::size_t many = 3'000'000;
  CHECK_THAT(error_of(pickle(std::string(many, '('))), Contains("nested more than 1000 deep"));
  CHECK_THAT(error_of(pickle(std::string(many, 'N'))), Contains("more than 2097152 objects"));
  CHECK_THAT(error_of(pickle("N" + std::string(many, '\x85'))), Contains("more than 2097152 objects"));
  std::string recalls = "Nq\x01";
  for (std::size_t i = 0; i < many; ++i) recalls += "h\x01";
  CHECK_THAT(error_of(pickle(recalls)), Contains("stack grows too large"));
  CHECK_THAT(error_of(pickle("N\x94\x94\x94\x94"), {.memo = 3}), Contains("remembers more than 3 objects"));
  // A hundred thousand tuples inside one another: read, and released, without recursion.
  const std::string deep = pickle("N" + std::string(100'000, '\x85'));
  CHECK(read(deep).nodes.size() == 100'001);
}
