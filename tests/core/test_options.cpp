#include <catch2/catch.hpp>

#include "reno/options.hpp"

using namespace reno;

namespace {

enum class Colour { red, green };

struct AllTypes {
  bool boolean = true;
  std::int64_t integer = -1;
  std::int32_t narrow = 2;
  std::uint64_t positive = 3;
  float real = 0.5F;
  double bounded = 1.0;
  std::string text = "t";
  std::string chosen = "a";
  std::filesystem::path path = "p/q";
  Colour colour = Colour::red;
  std::optional<double> maybe;
  std::vector<std::int64_t> integers = {1};
  std::vector<double> numbers = {0.5};
  std::vector<std::string> strings = {"s"};

  void describe(auto& field) {
    field("boolean", boolean, "b");
    field("integer", integer, "i");
    field("narrow", narrow, "n", bounds{-5, 1e30});
    field("positive", positive, "p");
    field("real", real, "r");
    field("bounded", bounded, "bd", bounds{0.0, 2.0});
    field("text", text, "t");
    field("chosen", chosen, "c", choices{{"a", "b"}});
    field("path", path, "pa");
    field("colour", colour, "co", spelling<Colour>{{{"red", Colour::red}, {"green", Colour::green}}});
    field("maybe", maybe, "m");
    field("integers", integers, "is");
    field("numbers", numbers, "ns");
    field("strings", strings, "ss");
  }
};

const Option& option(const std::vector<Option>& options, const std::string& key) {
  return *std::ranges::find(options, key, &Option::key);
}

}  // namespace

TEST_CASE("A description lists the options in order, with types, ranges and choices") {
  AllTypes object;
  const auto options = describe(object);
  REQUIRE(options.size() == 14);
  CHECK(options.front().key == "boolean");
  CHECK(options.back().key == "strings");
  CHECK(option(options, "boolean").type == OptionType::boolean);
  CHECK(option(options, "narrow").type == OptionType::integer);
  CHECK(option(options, "real").type == OptionType::number);
  CHECK(option(options, "path").type == OptionType::path);
  CHECK(option(options, "colour").type == OptionType::string);
  CHECK(option(options, "maybe").type == OptionType::number);
  CHECK(option(options, "integers").type == OptionType::integers);
  CHECK(option(options, "numbers").type == OptionType::numbers);
  CHECK(option(options, "strings").type == OptionType::strings);
  CHECK(option(options, "bounded").help == "bd");
  CHECK(option(options, "bounded").bounds->high == 2.0);
  CHECK(option(options, "chosen").choices == std::vector<std::string>{{"a"}, {"b"}});
  CHECK(option(options, "colour").choices == std::vector<std::string>{{"red"}, {"green"}});
  CHECK(option(options, "maybe").optional);
  CHECK_FALSE(option(options, "real").optional);
}

TEST_CASE("Integers that are narrower than 64 bits are bounded by their type") {
  AllTypes object;
  const auto options = describe(object);
  CHECK_FALSE(option(options, "integer").bounds.has_value());
  CHECK(option(options, "narrow").bounds->low == -5);
  CHECK(option(options, "narrow").bounds->high == 2147483647.0);
  CHECK(option(options, "positive").bounds->low == 0);
}

TEST_CASE("Options read and write the members") {
  AllTypes object;
  const auto options = describe(object);
  CHECK(option(options, "path").get() == OptionValue(std::string("p/q")));
  CHECK(option(options, "narrow").get() == OptionValue(std::int64_t{2}));
  CHECK(option(options, "real").get() == OptionValue(0.5));
  CHECK(option(options, "colour").get() == OptionValue(std::string("red")));
  CHECK(option(options, "maybe").get() == OptionValue());
  option(options, "path").set(std::string("é/x"));
  option(options, "narrow").set(std::int64_t{7});
  option(options, "colour").set(std::string("green"));
  option(options, "maybe").set(1.5);
  option(options, "strings").set(std::vector<std::string>{"x", "y"});
  CHECK(object.path == "é/x");
  CHECK(object.narrow == 7);
  CHECK(object.colour == Colour::green);
  CHECK(object.maybe == 1.5);
  CHECK(object.strings.size() == 2);
  option(options, "maybe").set(OptionValue());
  CHECK_FALSE(object.maybe.has_value());
}

TEST_CASE("Options of a hidden type are values") {
  AnyOptions options = AnyOptions::make<AllTypes>();
  const AnyOptions copy = options;
  CHECK(copy == options);
  options.fields()[1].set(std::int64_t{9});
  CHECK(options.as<AllTypes>().integer == 9);
  CHECK(copy.as<AllTypes>().integer == -1);
  CHECK_FALSE(copy == options);
  AnyOptions assigned;
  assigned = options;
  options.fields()[1].set(std::int64_t{10});
  CHECK(assigned.as<AllTypes>().integer == 9);
  const AnyOptions moved = std::move(assigned);
  CHECK(moved.fields()[1].get() == OptionValue(std::int64_t{9}));
  CHECK(AnyOptions(AnyOptions()) == AnyOptions());
}
