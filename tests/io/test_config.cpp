#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "reno/io/config.hpp"

using Catch::Matchers::Message;
using reno::Config;

namespace {
const Config config = Config::parse(R"({
  "hidden_size": 48, "eps": 1e-6, "whole": 1, "flag": true, "act": "gelu", "none": null, "huge": 18446744073709551615,
  "betas": [0, 0.5], "names": ["a", "b"], "text_config": {"layers": 2, "bad": []}
})",
                                    "model/config.json");
}

TEST_CASE("Config: values by type, defaults where the key is absent or null") {
  CHECK(config.get<std::int64_t>("hidden_size") == 48);
  CHECK(config.get("hidden_size", std::int64_t{1}) == 48);
  CHECK(config.get("eps", 1e-5) == 1e-6);
  CHECK(config.get("whole", 2.5) == 1.0);
  CHECK(config.get("flag", false));
  CHECK(config.get("act", "quick_gelu") == "gelu");
  CHECK(config.get("none", "quick_gelu") == "quick_gelu");
  CHECK_FALSE(config.has("none"));
  CHECK(config.get("missing", 3) == 3);
  CHECK(config.get<std::vector<double>>("betas") == std::vector<double>{0, 0.5});
  CHECK(config.get<std::vector<std::string>>("names") == std::vector<std::string>{"a", "b"});
  CHECK(config.size("missing", 7) == 7);
  CHECK(config.section("text_config").size("layers") == 2);
  CHECK(config.section("missing").get("layers", 12) == 12);
}

TEST_CASE("Config: errors name the file, the key and what was expected") {
  const auto message = [](auto&& read, const std::string& expected) {
    CHECK_THROWS_MATCHES(read(), reno::LoadError, Message("model/config.json: " + expected));
  };
  message([] { config.get<std::string>("absent"); }, "absent: is missing, expected a string");
  message([] { config.size("act"); }, "act = \"gelu\": expected a whole number");
  message([] { config.get("eps", 1); }, "eps = 1e-06: expected a whole number");
  message([] { config.get("flag", 1); }, "flag = true: expected a whole number");
  message([] { config.get("huge", 1); }, "huge = 18446744073709551615: expected a whole number");
  message([] { config.get<std::vector<int>>("betas"); },
          "betas = array: expected a list, each element a whole number");
  message([] { config.size("hidden_size", {}, 32); }, "hidden_size = 48 is outside [1, 32]");
  message([] { config.get("eps", 1e-5, reno::bounds{1e-5, 1.0}); }, "eps = 1e-06 is outside [1e-05, 1]");
  message([] { config.section("text_config").size("bad"); },
          "text_config.bad = array: expected a whole number");
  message([] { config.section("act"); }, "act = \"gelu\": expected an object");
}

TEST_CASE("Config: syntax errors have a position") {
  const auto message = [](const std::string& text, const std::string& expected) {
    CHECK_THROWS_MATCHES(Config::parse(text, "c.json"), reno::LoadError, Message(expected));
  };
  message("{\n  \"a\": 1,\n  \"b\" 2}", "c.json:3:7: is not valid JSON: syntax error");
  message("{\"a\": }", "c.json:1:7: is not valid JSON: syntax error");
  message("", "c.json:1:1: is not valid JSON: syntax error");
  message("[]", "c.json: expected a JSON object, got array");
  message("{\"a\": 1, \"a\": 2}", "c.json: key \"a\" appears twice");
  CHECK_THROWS_AS(Config::read("/nonexistent/config.json"), reno::LoadError);
}
