// Whatever a file or an override says, reading it gives an experiment or a ConfigurationError.
#include <ATen/ATen.h>

#include <catch2/catch.hpp>
#include <random>

#include "experiment/fake_registry.hpp"
#include "reno/experiment/toml.hpp"
#include "reno/experiment/write_toml.hpp"

using namespace reno;

namespace {

const Registry registry = test::fake_registry();

const std::string seed_text = R"([run]
prompt = "a 🐱"
seed = 3
mode = 'optimize'
dtype = "float16"
[generator]
plugin = "sd-turbo"
width = 0x40
[[reward]]
plugin = "hpsv2"
weight = 5e0
layers = [1, 2]
[[reward]]
plugin = "clip-score"
labels = ["x", """y"""]
[optimizer]
lr = 1_0.0
[noise]
init = "n" # comment
)";

/// Parts that bring a mutation past the first syntax error.
// clang-format off
const std::vector<std::string> parts = {
    "[", "]", "[[reward]]\n", "[run]\n", "=", "\"", "'", "\"\"\"", "\n", "{", "}", ",", ".", "run",
    "plugin", "weight", "seed = ", "nan", "-inf", "-1", "1979-05-27", "07:32", "true", "\\u0000", "\xff",
    "\xf0\x9f", "\\", "\xEF\xBB\xBF", "#", "name = 'hpsv2'\n", "reward.x=", "9999999999999999999999",
    "0b1", "1e999", "\r", std::string(1, '\0')};
// clang-format on

class Mutation {
 public:
  explicit Mutation(unsigned seed) : random_(seed) {}

  std::string operator()(std::string text) {
    const auto changes = random_() % 2 != 0 ? 1 : 1 + random_() % 4;
    for (std::size_t i = 0; i < changes; ++i) change(text);
    return text;
  }

 private:
  void change(std::string& text) {
    const std::size_t at = random_() % (text.size() + 1);
    const std::size_t length = std::min<std::size_t>(random_() % 12, text.size() - at);
    switch (random_() % 7) {
      case 0:
        text.erase(at, length);
        break;
      case 1:
        text.insert(at, parts[random_() % parts.size()]);
        break;
      case 2:
        text.insert(at, text.substr(random_() % (text.size() + 1), 24));
        break;
      case 3:
        text.replace(at, length, parts[random_() % parts.size()]);
        break;
      case 4:
        remove_line(text, at);
        break;
      case 5:
        change_digit(text, at);
        break;
      default:
        if (at < text.size()) text[at] = static_cast<char>(random_());
    }
  }

  static void remove_line(std::string& text, std::size_t at) {
    const std::size_t begin = text.rfind('\n', at) + 1;
    text.erase(begin, text.find('\n', begin) - begin);
  }

  void change_digit(std::string& text, std::size_t at) {
    const std::size_t digit = text.find_first_of("0123456789", at);
    if (digit != std::string::npos) text[digit] = static_cast<char>('0' + random_() % 10);
  }

  std::mt19937 random_;
};

}  // namespace

TEST_CASE("No file and no override brings the reader down") {
  Mutation mutate(7);
  const std::vector<std::string> overrides = {"run.iterations=10", "reward.hpsv2.weight=1",
                                              "reward.0.layers=[1]", "run.prompt=a cat",
                                              "optimizer.plugin=adam"};
  REQUIRE_NOTHROW(parse_experiment(seed_text, "fuzz.toml", registry, overrides));
  int accepted = 0, refused = 0;
  for (int round = 0; round < 20'000; ++round) {
    const std::string text = mutate(seed_text);
    std::vector<std::string> sets;
    if (round % 3 == 0)
      sets.push_back(mutate(overrides[static_cast<std::size_t>(round / 3) % overrides.size()]));
    try {
      const Experiment experiment = parse_experiment(text, "fuzz.toml", registry, sets);
      ++accepted;
      if (parse_experiment(write_toml(experiment), "fuzz.toml", registry) != experiment) {
        FAIL("does not survive a round trip: " << text);
      }
    } catch (const ConfigurationError& error) {
      ++refused;
      if (std::string(error.what()).empty()) FAIL("refused without a word: " << text);
    }
  }
  INFO(accepted << " accepted, " << refused << " refused");
  // Both must be met often, or the mutations are too tame or too wild to say anything.
  CHECK(accepted > 300);
  CHECK(refused > 300);
}
