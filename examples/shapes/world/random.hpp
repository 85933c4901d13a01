// Random numbers that are the same on every platform: the standard fixes the engine but not the
// distributions, so those are written out.
#pragma once

#include <cmath>
#include <cstdint>
#include <random>
#include <sstream>
#include <string>

namespace reno::shapes {

class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}

  /// In [0, 1).
  double uniform() { return static_cast<double>(engine_() >> 11) * 0x1p-53; }
  /// In [low, high).
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  /// In 0, …, count - 1.
  int below(int count) { return static_cast<int>(uniform() * count); }
  /// True with this probability.
  bool chance(double probability) { return uniform() < probability; }
  /// Normal, mean 0 and variance 1 (Box and Muller 1958).
  double normal() {
    const double radius = std::sqrt(-2 * std::log(1 - uniform()));
    return radius * std::cos(6.283185307179586 * uniform());
  }
  /// Seed for another stream.
  std::uint64_t fork() { return engine_(); }

  /// Everything that the next numbers depend on, as text.
  std::string state() const { return (std::ostringstream() << engine_).str(); }
  void restore(const std::string& state) { std::istringstream(state) >> engine_; }

 private:
  std::mt19937_64 engine_;
};

}  // namespace reno::shapes
