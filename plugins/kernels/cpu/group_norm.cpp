// Group norm of channels-last feature maps, whose way back takes LibTorch as long as half a convolution.
// Every number is read once for the sums and once for the result.
//
// With y = scale x + shift, scale = rstd w and g the gradient in y, the gradient in x is
//     scale g - rstd (mean(w g) + (x - mean) rstd mean(w g (x - mean) rstd)),    means over a group.
#include "group_norm.hpp"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <tuple>
#include <utility>
#include <vector>

#include "../operators.hpp"
#include "group_norm_loops.hpp"

namespace reno::kernels {

namespace {

/// A channels-last tensor, image by image.
struct Sizes {
  std::int64_t images, channels, pixels, groups;

  Sizes(const at::Tensor& x, std::int64_t groups)
      : images(x.size(0)), channels(x.size(1)), pixels(x.numel() / (images * channels)), groups(groups) {}

  std::int64_t group_channels() const { return channels / groups; }
};

/// So many rows are summed in float before they are added up in double; and by threads, as one piece.
constexpr std::int64_t chunk_rows = 128;

/// Calls act(chunk, its first row, rows) for all chunks of an image, side by side.
template <class Act>
void each_chunk(const Sizes& sizes, const Act& act) {
  const std::int64_t chunks = (sizes.pixels + chunk_rows - 1) / chunk_rows;
  at::parallel_for(0, chunks, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t chunk = begin; chunk < end; ++chunk) {
      const std::int64_t first = chunk * chunk_rows;
      act(chunk, first, std::min(chunk_rows, sizes.pixels - first));
    }
  });
}

/// Two sums per channel over the pixels of an image: add(first row, rows, sums, others) adds those of some
/// rows. The same for any number of threads.
template <class Add>
std::pair<std::vector<double>, std::vector<double>> sum_channels(const Sizes& sizes, const Add& add) {
  const auto channels = static_cast<std::size_t>(sizes.channels);
  const auto chunks = static_cast<std::size_t>((sizes.pixels + chunk_rows - 1) / chunk_rows);
  std::vector<float> parts(chunks * 2 * channels);
  each_chunk(sizes, [&](std::int64_t chunk, std::int64_t first, std::int64_t rows) {
    float* part = parts.data() + static_cast<std::size_t>(chunk) * 2 * channels;
    add(first, rows, part, part + channels);
  });
  std::pair sums{std::vector<double>(channels), std::vector<double>(channels)};
  for (std::size_t chunk = 0; chunk < chunks; ++chunk)
    for (std::size_t c = 0; c < channels; ++c) {
      sums.first[c] += static_cast<double>(parts[(2 * chunk) * channels + c]);
      sums.second[c] += static_cast<double>(parts[(2 * chunk + 1) * channels + c]);
    }
  return sums;
}

/// The factors of one image's channels.
struct Factors {
  std::vector<float> scale, shift, mean, rstd, weight;

  template <class T>
  Factors(const Sizes& sizes, const T* w, const T* bias, const float* means, const float* rstds) {
    for (std::int64_t c = 0; c < sizes.channels; ++c) {
      const auto group = c / sizes.group_channels();
      weight.push_back(static_cast<float>(w[c]));
      mean.push_back(means[group]);
      rstd.push_back(rstds[group]);
      scale.push_back(rstd.back() * weight.back());
      shift.push_back(static_cast<float>(bias[c]) - mean.back() * scale.back());
    }
  }

  Affine y() const { return {scale.data(), shift.data()}; }
};

/// Mean and 1 / sqrt(variance + eps) of an image's groups. Sums are of distances from the first pixel, which
/// keeps their digits where the mean is large.
template <class T>
void find_statistics(const T* x, const Sizes& sizes, double eps, float* mean, float* rstd) {
  std::vector<float> origin(x, x + sizes.channels);
  const auto [sums, squares] =
      sum_channels(sizes, [&](std::int64_t first, std::int64_t rows, float* sum, float* square) {
        sum_moments(x + first * sizes.channels, {rows, sizes.channels}, origin.data(), sum, square);
      });
  const std::int64_t size = sizes.group_channels();
  const auto pixels = static_cast<double>(sizes.pixels);
  for (std::int64_t group = 0; group < sizes.groups; ++group) {
    double average = 0, variance = 0;
    const auto channel_mean = [&](std::size_t c) {
      return static_cast<double>(origin[c]) + sums[c] / pixels;
    };
    const auto each_channel = [&](const auto& act) {
      for (std::int64_t c = group * size; c < (group + 1) * size; ++c) act(static_cast<std::size_t>(c));
    };
    each_channel([&](std::size_t c) { average += channel_mean(c) / static_cast<double>(size); });
    each_channel([&](std::size_t c) {
      const double within = squares[c] / pixels - std::pow(sums[c] / pixels, 2);
      variance += (within + std::pow(channel_mean(c) - average, 2)) / static_cast<double>(size);
    });
    mean[group] = static_cast<float>(average);
    rstd[group] = static_cast<float>(1 / std::sqrt(std::max(variance, 0.0) + eps));
  }
}

/// `slope` and `constant` of write_gradient, for an image.
struct GroupTerms {
  std::vector<float> slope, constant;

  GroupTerms(const Sizes& sizes, const Factors& factors, const std::vector<double>& sums,
             const std::vector<double>& products) {
    const std::int64_t size = sizes.group_channels();
    const double count = static_cast<double>(size * sizes.pixels);
    for (std::int64_t group = 0; group < sizes.groups; ++group) {
      double mean_gradient = 0, mean_product = 0;
      const auto first = static_cast<std::size_t>(group * size), end = first + static_cast<std::size_t>(size);
      const double mean = factors.mean[first], rstd = factors.rstd[first];
      for (std::size_t c = first; c < end; ++c) {
        mean_gradient += factors.weight[c] * sums[c] / count;
        mean_product += factors.weight[c] * products[c] * rstd / count;
      }
      const double by_x = -rstd * rstd * mean_product;
      slope.insert(slope.end(), end - first, static_cast<float>(by_x));
      constant.insert(constant.end(), end - first, static_cast<float>(-rstd * mean_gradient - mean * by_x));
    }
  }
};

template <class T>
void normalize(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const Sizes& sizes,
               double eps, bool silu, const at::Tensor& y, const at::Tensor& mean, const at::Tensor& rstd) {
  for (std::int64_t image = 0; image < sizes.images; ++image) {
    const std::int64_t offset = image * sizes.channels * sizes.pixels;
    const T* from = x.const_data_ptr<T>() + offset;
    T* to = y.mutable_data_ptr<T>() + offset;
    float* means = mean.mutable_data_ptr<float>() + image * sizes.groups;
    float* rstds = rstd.mutable_data_ptr<float>() + image * sizes.groups;
    find_statistics(from, sizes, eps, means, rstds);
    const Factors factors(sizes, weight.const_data_ptr<T>(), bias.const_data_ptr<T>(), means, rstds);
    each_chunk(sizes, [&](std::int64_t, std::int64_t first, std::int64_t rows) {
      const std::int64_t skipped = first * sizes.channels;
      write_values(from + skipped, to + skipped, {rows, sizes.channels}, factors.y(), silu);
    });
  }
}

template <class T>
void go_back(const at::Tensor& gradient, const at::Tensor& x, const at::Tensor& weight,
             const at::Tensor& bias, const at::Tensor& mean, const at::Tensor& rstd, const Sizes& sizes,
             bool silu, const at::Tensor& dx) {
  for (std::int64_t image = 0; image < sizes.images; ++image) {
    const std::int64_t offset = image * sizes.channels * sizes.pixels;
    const T* from = x.const_data_ptr<T>() + offset;
    const T* dy = gradient.const_data_ptr<T>() + offset;
    T* to = dx.mutable_data_ptr<T>() + offset;
    const Factors factors(sizes, weight.const_data_ptr<T>(), bias.const_data_ptr<T>(),
                          mean.const_data_ptr<float>() + image * sizes.groups,
                          rstd.const_data_ptr<float>() + image * sizes.groups);
    const auto [sums, products] =
        sum_channels(sizes, [&](std::int64_t first, std::int64_t rows, float* sum, float* product) {
          const std::int64_t skipped = first * sizes.channels;
          sum_products(from + skipped, dy + skipped, {rows, sizes.channels}, factors.y(), silu,
                       factors.mean.data(), sum, product);
        });
    const GroupTerms terms(sizes, factors, sums, products);
    each_chunk(sizes, [&](std::int64_t, std::int64_t first, std::int64_t rows) {
      const std::int64_t skipped = first * sizes.channels;
      write_gradient(from + skipped, dy + skipped, to + skipped, {rows, sizes.channels}, factors.y(), silu,
                     terms.slope.data(), terms.constant.data());
    });
  }
}

/// act.template operator()<T>() for the dtype of x.
template <class Act>
void with_dtype(const at::Tensor& x, const Act& act) {
  if (x.scalar_type() == at::kFloat) return act.template operator()<float>();
  if (x.scalar_type() == at::kHalf) return act.template operator()<c10::Half>();
  act.template operator()<c10::BFloat16>();
}

}  // namespace

std::tuple<at::Tensor, at::Tensor, at::Tensor> group_norm(const at::Tensor& x, const at::Tensor& weight,
                                                          const at::Tensor& bias, std::int64_t groups,
                                                          double eps, bool silu) {
  check_group_norm(x, weight, bias, groups);
  const auto input = x.contiguous(at::MemoryFormat::ChannelsLast);
  const auto y = at::empty_like(input);
  const auto mean = at::empty({x.size(0), groups}, x.options().dtype(at::kFloat)),
             rstd = at::empty_like(mean);
  with_dtype(
      x, [&]<class T>() { normalize<T>(input, weight, bias, Sizes(x, groups), eps, silu, y, mean, rstd); });
  return {y, mean, rstd};
}

at::Tensor group_norm_backward(const at::Tensor& gradient, const at::Tensor& x, const at::Tensor& weight,
                               const at::Tensor& bias, const at::Tensor& mean, const at::Tensor& rstd,
                               std::int64_t groups, bool silu) {
  check_group_norm(x, weight, bias, groups);
  check_gradient(gradient, x);
  const auto input = x.contiguous(at::MemoryFormat::ChannelsLast);
  const auto dx = at::empty_like(input);
  with_dtype(x, [&]<class T>() {
    go_back<T>(gradient.contiguous(at::MemoryFormat::ChannelsLast), input, weight, bias, mean, rstd,
               Sizes(x, groups), silu, dx);
  });
  return dx;
}

}  // namespace reno::kernels
