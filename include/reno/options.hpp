// Options are declared once, by a `describe` member, and everything else is a walk over that declaration:
// reading TOML, `--set`, the resolved experiment file, `--describe`, the generated reference, sweeps. A
// plugin's options cross the library boundary as a list of `Option`s.
//
//     struct Options {
//       std::filesystem::path weights = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K";
//       double temperature = 1.0;
//       void describe(auto& field) {
//         field("weights", weights, "hub id or directory of the checkpoint");
//         field("temperature", temperature, "divides the logits", reno::bounds{0.0, 100.0});
//       }
//     };
#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace reno {

/// Inclusive range of a number.
struct bounds {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
};

/// The values that a string may take.
struct choices {
  std::vector<std::string> values;
};

/// The spelling of each value of an enumeration, which travels as a string.
template <class Enum>
struct spelling {
  std::vector<std::pair<std::string, Enum>> values;
};

/// What an option holds while it travels between TOML, the command line and the member. `monostate`: an
/// optional that is not set.
using OptionValue = std::variant<std::monostate, bool, std::int64_t, double, std::string,
                                 std::vector<std::int64_t>, std::vector<double>, std::vector<std::string>>;

/// A `path` travels as a string; it may name an input that is there, or something else, such as a hub id.
enum class OptionType { boolean, integer, number, string, integers, numbers, strings, path };

/// One described option, bound to the member of one live `Options` object.
struct Option {
  std::string key;
  std::string help;
  OptionType type = OptionType::string;
  bool optional = false;  ///< may be left unset
  std::optional<reno::bounds> bounds;
  std::vector<std::string> choices;  ///< empty: anything
  std::function<OptionValue()> get;  ///< the member's present value
  std::function<void(const OptionValue&)>
      set;  ///< the value must have this option's type and be inside its bounds
};

namespace detail {

/// How a member's C++ type is spelt as an option.
template <class Member>
struct OptionTraits;

template <OptionType Type, class Wire>
struct OptionTraitsAs {
  static constexpr OptionType type = Type;
  static constexpr bool optional = false;
  using WireType = Wire;
};

template <>
struct OptionTraits<bool> : OptionTraitsAs<OptionType::boolean, bool> {};
template <std::integral Integer>
struct OptionTraits<Integer> : OptionTraitsAs<OptionType::integer, std::int64_t> {};
template <std::floating_point Number>
struct OptionTraits<Number> : OptionTraitsAs<OptionType::number, double> {};
template <>
struct OptionTraits<std::string> : OptionTraitsAs<OptionType::string, std::string> {};
template <>
struct OptionTraits<std::filesystem::path> : OptionTraitsAs<OptionType::path, std::string> {};
template <>
struct OptionTraits<std::vector<std::int64_t>>
    : OptionTraitsAs<OptionType::integers, std::vector<std::int64_t>> {};
template <>
struct OptionTraits<std::vector<double>> : OptionTraitsAs<OptionType::numbers, std::vector<double>> {};
template <>
struct OptionTraits<std::vector<std::string>>
    : OptionTraitsAs<OptionType::strings, std::vector<std::string>> {};
template <class Member>
struct OptionTraits<std::optional<Member>> : OptionTraits<Member> {
  static constexpr bool optional = true;
};

/// What fits into an integer narrower than the wire's, or without sign; nothing for other members.
template <class Member>
std::optional<bounds> bounds_of() {
  using Limits = std::numeric_limits<Member>;
  if constexpr (std::integral<Member> && !std::same_as<Member, bool> &&
                (sizeof(Member) < sizeof(std::int64_t) || std::unsigned_integral<Member>)) {
    return bounds{static_cast<double>(Limits::min()),
                  sizeof(Member) < sizeof(std::int64_t) ? static_cast<double>(Limits::max()) : bounds{}.high};
  } else {
    return std::nullopt;
  }
}

/// Converts between a member and its wire type (a path travels as a string, an int as int64).
template <class To, class From>
To convert_option(const From& from) {
  if constexpr (std::same_as<From, std::filesystem::path>) {
    return To(from.string());
  } else {
    return static_cast<To>(from);
  }
}

template <class Member>
OptionValue get_option(const Member& member) {
  return convert_option<typename OptionTraits<Member>::WireType>(member);
}

template <class Member>
OptionValue get_option(const std::optional<Member>& member) {
  return member ? get_option(*member) : OptionValue{};
}

template <class Member>
void set_option(Member& member, const OptionValue& value) {
  member = convert_option<Member>(std::get<typename OptionTraits<Member>::WireType>(value));
}

template <class Member>
void set_option(std::optional<Member>& member, const OptionValue& value) {
  if (std::holds_alternative<std::monostate>(value)) {
    member.reset();
  } else {
    set_option(member.emplace(), value);
  }
}

}  // namespace detail

/// The visitor given to `describe`: turns each call into an `Option`.
class OptionCollector {
 public:
  template <class Member>
  void operator()(std::string key, Member& member, std::string help) {
    add(std::move(key), member, std::move(help));
  }

  template <class Member>
  void operator()(std::string key, Member& member, std::string help, reno::bounds range) {
    Option& option = add(std::move(key), member, std::move(help));
    if (option.bounds) {
      range = {std::max(range.low, option.bounds->low), std::min(range.high, option.bounds->high)};
    }
    option.bounds = range;
  }

  template <class Member>
  void operator()(std::string key, Member& member, std::string help, reno::choices allowed) {
    add(std::move(key), member, std::move(help)).choices = std::move(allowed.values);
  }

  template <class Enum>
  void operator()(std::string key, Enum& member, std::string help, reno::spelling<Enum> names) {
    Option option;
    option.key = std::move(key);
    option.help = std::move(help);
    for (const auto& [name, value] : names.values) option.choices.push_back(name);
    option.get = [&member, values = names.values]() -> OptionValue {
      return std::ranges::find(values, member, &std::pair<std::string, Enum>::second)->first;
    };
    option.set = [&member, values = std::move(names.values)](const OptionValue& value) {
      const auto& name = std::get<std::string>(value);
      member = std::ranges::find(values, name, &std::pair<std::string, Enum>::first)->second;
    };
    options_.push_back(std::move(option));
  }

  std::vector<Option> take() && { return std::move(options_); }

 private:
  template <class Member>
  Option& add(std::string key, Member& member, std::string help) {
    using Traits = detail::OptionTraits<Member>;
    Option option;
    option.key = std::move(key);
    option.help = std::move(help);
    option.type = Traits::type;
    option.optional = Traits::optional;
    option.bounds = detail::bounds_of<Member>();
    option.get = [&member] { return detail::get_option(member); };
    option.set = [&member](const OptionValue& value) { detail::set_option(member, value); };
    return options_.emplace_back(std::move(option));
  }

  std::vector<Option> options_;
};

/// The options of a live object, in the order of their description. They refer to `options`, which must
/// outlive them.
template <class Options>
std::vector<Option> describe(Options& options) {
  OptionCollector collector;
  options.describe(collector);
  return std::move(collector).take();
}

/// An `Options` object of some component whose type only the component's plugin knows, with its description.
/// A value: a copy has an object of its own. Empty until made.
class AnyOptions {
 public:
  AnyOptions() = default;
  AnyOptions(AnyOptions&&) noexcept = default;
  AnyOptions(const AnyOptions& other) {
    if (other.object_) *this = other.copy_(other.object_.get());
  }
  AnyOptions& operator=(AnyOptions&&) noexcept = default;
  AnyOptions& operator=(const AnyOptions& other) { return *this = AnyOptions(other); }
  ~AnyOptions() = default;

  template <class Options>
  static AnyOptions make(Options object = {}) {
    AnyOptions any;
    auto held = std::make_shared<Options>(std::move(object));
    any.fields_ = reno::describe(*held);
    any.object_ = std::move(held);
    any.copy_ = [](const void* object) { return make(*static_cast<const Options*>(object)); };
    return any;
  }

  std::vector<Option>& fields() { return fields_; }
  const std::vector<Option>& fields() const { return fields_; }

  /// The object itself; `Options` must be the type that it was made of.
  template <class Options>
  const Options& as() const {
    return *static_cast<const Options*>(object_.get());
  }

  /// Whether the same keys have the same values.
  friend bool operator==(const AnyOptions& a, const AnyOptions& b) {
    return std::ranges::equal(a.fields_, b.fields_, [](const Option& x, const Option& y) {
      return x.key == y.key && x.get() == y.get();
    });
  }

 private:
  std::shared_ptr<void> object_;
  std::vector<Option> fields_;
  AnyOptions (*copy_)(const void*) = nullptr;
};

}  // namespace reno
