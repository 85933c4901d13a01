// Paired bootstrap intervals of means (Efron and Tibshirani 1993), in one pass over the images: instead of
// drawing images again, each image counts Poisson(1) times in each replicate (Hanley and MacGibbon 2006; the
// same as n grows), which needs no list of images. The counts are a function of image and replicate only, so
// all cells of a sweep count alike: differences are paired, and the order of work does not matter.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace reno {

namespace detail {

/// How often image `number` counts in a replicate.
inline int poisson_count(std::uint64_t number, std::uint64_t replicate) {
  std::uint64_t mixed = (number + 1) * 0x9e3779b97f4a7c15ULL ^ (replicate + 1) * 0xd1b54a32d192ed03ULL;
  mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9ULL;
  mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebULL;
  const double uniform = static_cast<double>((mixed ^ (mixed >> 31)) >> 11) * 0x1.0p-53;
  double probability = std::exp(-1.0);
  int count = 0;
  for (double below = probability; uniform >= below && count < 12; below += probability)
    probability /= ++count;
  return count;
}

}  // namespace detail

/// Of one value. Memory does not grow with the number of images.
class BootstrapMean {
 public:
  static constexpr std::size_t replicates = 1000;

  /// counts: of this image in each replicate; shared by all values of one image.
  void add(double value, const std::vector<int>& counts) {
    ++count_;
    sum_ += value;
    for (std::size_t i = 0; i < replicates; ++i) {
      sums_[i] += counts[i] * value;
      weights_[i] += counts[i];
    }
  }

  static std::vector<int> counts(std::uint64_t number) {
    std::vector<int> counts(replicates);
    for (std::size_t i = 0; i < replicates; ++i) counts[i] = detail::poisson_count(number, i);
    return counts;
  }

  std::int64_t count() const { return count_; }
  double mean() const { return sum_ / static_cast<double>(count_); }

  /// 95 %, by percentiles; none for a single image.
  std::optional<std::pair<double, double>> interval() const {
    if (count_ < 2) return std::nullopt;
    std::vector<double> means;
    for (std::size_t i = 0; i < replicates; ++i) {
      if (weights_[i] > 0.0) means.push_back(sums_[i] / weights_[i]);
    }
    std::sort(means.begin(), means.end());
    const auto at = [&](double share) {
      return means[static_cast<std::size_t>(std::lround(share * static_cast<double>(means.size() - 1)))];
    };
    return std::pair(at(0.025), at(0.975));
  }

 private:
  std::int64_t count_ = 0;
  double sum_ = 0.0;
  std::array<double, replicates> sums_{};
  std::array<double, replicates> weights_{};
};

}  // namespace reno
