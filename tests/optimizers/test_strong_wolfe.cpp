#include <catch2/catch.hpp>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>
#include <vector>

#include "reno/optimizers/strong_wolfe.hpp"

namespace {

using Point = reno::LinePoint<double>;
constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double inf = std::numeric_limits<double>::infinity();

/// phi(t) and phi'(t).
using Line = std::function<std::pair<double, double>(double)>;

struct Search {
  Point accepted;
  std::vector<double> trials;
};

Search search(const Line& line, double first, reno::StrongWolfeOptions options = {}) {
  const auto point = [&](double t) {
    const auto [loss, slope] = line(t);
    return Point{t, loss, slope, {}};
  };
  Search result;
  auto talk = reno::strong_wolfe<double>(point(0.0), first, 1.0, options);
  for (; talk.asking(); talk.answer(point(result.trials.back()))) result.trials.push_back(talk.question());
  result.accepted = talk.result();
  return result;
}

void require_strong_wolfe(const Line& line, const Point& point) {
  const auto [loss, slope] = line(0.0);
  CHECK(point.loss <= loss + 1e-4 * point.t * slope);
  CHECK(std::abs(point.slope) <= 0.9 * std::abs(slope));
}

TEST_CASE("strong Wolfe: holds at the accepted point, from first trials far too short to far too long",
          "[lbfgs]") {
  const std::vector<Line> lines = {
      [](double t) { return std::pair((t - 3.0) * (t - 3.0), 2.0 * (t - 3.0)); },
      [](double t) { return std::pair(std::cosh(t - 2.0), std::sinh(t - 2.0)); },
      // More and Thuente's second test problem (ACM TOMS, 1994).
      [](double t) {
        const double u = t + 0.004;
        return std::pair(std::pow(u, 5) - 2.0 * std::pow(u, 4), 5.0 * std::pow(u, 4) - 8.0 * std::pow(u, 3));
      },
  };
  for (const auto& line : lines) {
    for (const double first : {1e-3, 0.1, 1.0, 10.0, 1e3}) {
      INFO("first trial at " << first);
      const Search result = search(line, first);
      require_strong_wolfe(line, result.accepted);
      CHECK(result.trials.size() <= 26);
    }
  }
}

TEST_CASE("strong Wolfe: the cubic is exact on cubics", "[lbfgs]") {
  // t^3 - 3t, smallest at 1
  const Point a{0.0, 0.0, -3.0, {}}, b{2.0, 2.0, 9.0, {}};
  CHECK(reno::cubic_minimizer(a, b, 0.0, 2.0) == Approx(1.0));
  CHECK(reno::cubic_minimizer(b, a, 0.0, 2.0) == reno::cubic_minimizer(a, b, 0.0, 2.0));
  CHECK(reno::cubic_minimizer(a, b, 1.5, 2.0) == 1.5);
  CHECK(reno::cubic_minimizer(a, Point{2.0, inf, 1.0, {}}, 0.0, 2.0) == 1.0);
  CHECK(reno::cubic_minimizer(a, Point{2.0, nan, nan, {}}, 0.0, 2.0) == 1.0);
}

TEST_CASE("strong Wolfe: backs off from points that are not finite", "[lbfgs]") {
  const Line bowl = [](double t) { return std::pair((t - 0.5) * (t - 0.5), 2.0 * (t - 0.5)); };
  const std::vector<std::pair<double, double>> bad = {
      {nan, nan}, {inf, 1.0}, {-inf, -1.0}, {-1.0, nan}, {nan, -1.0}};
  for (const auto& beyond : bad) {
    INFO("beyond 0.75: " << beyond.first << ", " << beyond.second);
    const Line line = [&](double t) { return t < 0.75 ? bowl(t) : beyond; };
    for (const double first : {0.1, 1.0, 100.0}) {
      const Search result = search(line, first);
      CHECK(result.accepted.finite());
      CHECK(result.accepted.t > 0.0);
      require_strong_wolfe(line, result.accepted);
      CHECK(result.trials.size() <= 26);
    }
  }
}

TEST_CASE("strong Wolfe: where all is NaN it ends at its start", "[lbfgs]") {
  const Line line = [](double t) { return t == 0.0 ? std::pair(1.0, -1.0) : std::pair(nan, nan); };
  const Search result = search(line, 1.0);
  CHECK(result.accepted.t == 0.0);
  CHECK(result.accepted.loss == 1.0);
  CHECK(result.trials.size() <= 26);
}

TEST_CASE("strong Wolfe: ends where there is no minimum", "[lbfgs]") {
  const Search result = search([](double t) { return std::pair(-t, -1.0); }, 1.0);
  CHECK(result.trials.size() == 26);
  CHECK(result.accepted.t == result.trials.back());
  CHECK(std::isfinite(result.accepted.t));

  reno::StrongWolfeOptions options;
  options.max_trials = 4;
  CHECK(search([](double t) { return std::pair(-t, -1.0); }, 1.0, options).trials.size() == 5);
  options.max_trials = 0;
  CHECK(search([](double t) { return std::pair(t, -1.0); }, 1.0, options).accepted.t == 0.0);
}

}  // namespace
