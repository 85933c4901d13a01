#include <catch2/catch.hpp>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "reno/optimizers/dialogue.hpp"

namespace {

using Talk = reno::Dialogue<std::string, int, int>;

Talk add_three(int start) {
  int sum = start;
  for (const std::string question : {"one", "two", "three"}) sum += co_await question;
  co_return sum;
}

Talk of_few_words() { co_return 7; }

Talk refuse(int at) {
  if (at == 0) throw std::runtime_error("refused");
  const std::string question = "more?";
  const int answer = co_await question;
  if (at == 1) throw std::runtime_error("refused");
  co_return answer;
}

TEST_CASE("dialogue: questions come one by one, then the result", "[dialogue]") {
  auto talk = add_three(10);
  int answer = 0;
  std::string asked;
  while (talk.asking()) {
    asked += talk.question() + " ";
    talk.answer(++answer);
  }
  CHECK(asked == "one two three ");
  CHECK(talk.result() == 16);
}

TEST_CASE("dialogue: it may end without a question", "[dialogue]") {
  const auto talk = of_few_words();
  CHECK_FALSE(talk.asking());
  CHECK(talk.result() == 7);
}

TEST_CASE("dialogue: what it throws reaches who asks for the next question", "[dialogue]") {
  const auto at_once = refuse(0);
  CHECK_THROWS_WITH(at_once.asking(), "refused");
  auto later = refuse(1);
  REQUIRE(later.asking());
  later.answer(1);
  CHECK_THROWS_WITH(later.asking(), "refused");
}

reno::Dialogue<int, int, int> hold(std::shared_ptr<int> held) {
  const int answer = co_await *held;
  co_return answer;
}

TEST_CASE("dialogue: one that is dropped, or moved and dropped, frees what it holds", "[dialogue]") {
  const auto held = std::make_shared<int>(1);
  {
    auto talk = hold(held);
    CHECK(held.use_count() == 2);
    const auto moved = std::move(talk);
    CHECK(moved.asking());
  }
  CHECK(held.use_count() == 1);
}

}  // namespace
