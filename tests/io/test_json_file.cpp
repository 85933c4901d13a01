#include <catch2/catch.hpp>

#include "reno/io/json_file.hpp"
#include "support/temporary_folder.hpp"

using reno::in_quotes;
using reno::LoadError;
using reno::parse_json;
using reno::test::message_of;

namespace {

std::string failure(const std::string& text, int max_depth = 64) {
  return message_of<LoadError>([&] { parse_json(text, "a.json", max_depth); });
}

std::string nested(int depth) {
  const auto levels = static_cast<std::size_t>(depth);
  return std::string(levels, '[') + std::string(levels, ']');
}

}  // namespace

TEST_CASE("Names are quoted for messages without control characters and without end") {
  CHECK(in_quotes("to_q.weight") == R"("to_q.weight")");
  CHECK(in_quotes("a\"b\\\n\x1b[31m") == R"("a\"b\\\n\u001b[31m")");
  CHECK(in_quotes(std::string_view("a\0b", 3)) == R"("a\u0000b")");
  CHECK(in_quotes("gr\xc3\xb6\xc3\x9f"
                  "e") == R"("gr\u00f6\u00dfe")");
  CHECK(in_quotes("\xff") == R"("\ufffd")");
  CHECK(in_quotes(std::string(1000, 'x')) == "\"" + std::string(160, 'x') + "\"…");
}

TEST_CASE("JSON is read strictly") {
  CHECK(parse_json(R"({"a": [1, 2.5, "x"], "b": {"a": null}})", "a.json")["b"]["a"].is_null());
  CHECK(failure("") == "a.json:1:1: is not valid JSON: syntax error");
  CHECK(failure("{\"a\": }") == "a.json:1:7: is not valid JSON: syntax error");
  CHECK(failure("{\"a\": 1} x") == "a.json:1:10: is not valid JSON: syntax error");
  CHECK(failure("{\"\xff\": 1}") == "a.json:1:3: is not valid JSON: syntax error");
  CHECK(failure("{\"a\": 1,\n \"b\": x}") == "a.json:2:7: is not valid JSON: syntax error");
  CHECK(failure(R"({"a": 1, "b": {"a": 2}, "a": 3})") == R"(a.json: key "a" appears twice)");
  CHECK(failure(R"([{"a": 1}, {"a": 2}])") == "no error");
  CHECK(failure("[1e999]").find("a.json: is not valid JSON") == 0);
}

TEST_CASE("Deep nesting is refused before it can exhaust the stack") {
  CHECK(failure(nested(64)) == "no error");
  CHECK(failure(nested(65)) == "a.json: JSON is nested deeper than 64 levels");
  CHECK(failure(nested(2), 1) == "a.json: JSON is nested deeper than 1 levels");
  CHECK(failure(std::string(10'000'000, '[')) == "a.json: JSON is nested deeper than 64 levels");
}

TEST_CASE("A JSON file must be an object of bounded size") {
  const reno::test::TemporaryFolder folder;
  const auto path = folder.write("a.json", R"({"layers": 3})").string();
  CHECK(reno::read_json_object(path)["layers"] == 3);
  CHECK(message_of<LoadError>([&] { reno::read_json_object(path, 5); }) ==
        path + ": has 13 bytes, expected JSON of at most 5");
  folder.write("a.json", "[1]");
  CHECK(message_of<LoadError>([&] { reno::read_json_object(path); }) ==
        path + ": expected a JSON object, got array");
}
