// group_norm(x), or silu of it, and the gradient in x: the arithmetic of the CUDA kernels, as functions that
// a CPU can run too. x is half, bfloat16 or float, planar (N, C, pixels) or channels-last (N, pixels, C);
// statistics and sums are float.
//
// The gradient, with g = dy silu'(...) w, x' = (x - mean) rstd and means over a group:
//     dx = rstd (g - mean(g) - x' mean(g x'))
//
// Each way takes three steps: a block makes totals of some pixels of some channels, another merges those of
// one group, and blocks as in the first step write the result. A thread keeps to its channels, whose factors
// stay in registers, and goes through pixels.
#pragma once

#include <cmath>
#include <cstdint>

#include "block.hpp"

namespace reno::kernels {

enum class Layout { planar, channels_last };

/// x as the kernels see it.
struct Sizes {
  std::int64_t images;
  std::int64_t channels;
  std::int64_t pixels;
  std::int64_t groups;

  RENO_GPU std::int64_t group_channels() const { return channels / groups; }
};

/// How the pixels and channels of x are dealt out to blocks and threads. A block works on a chunk of one
/// image's pixels in a tile of its channels: planar one channel, all threads side by side in its pixels;
/// channels-last `columns` packs of neighbouring channels in `rows` pixels at a time.
struct Plan {
  Layout layout;
  Sizes sizes;
  bool silu;  ///< whether it follows the norm
  int width;  ///< numbers in a pack
  int columns;
  int rows;
  int tiles;
  int chunks;
  std::int64_t steps;        ///< packs of a channel, or pixels
  std::int64_t chunk_steps;  ///< in one chunk; a multiple of rows

  RENO_GPU int threads() const { return columns * rows; }
  /// Channels of one thread.
  RENO_GPU int lanes() const { return layout == Layout::planar ? 1 : width; }
};

constexpr int most_threads = 256;

/// `width` must divide the pixels (planar) or the channels.
inline Plan make_plan(Layout layout, const Sizes& sizes, bool silu, int width) {
  constexpr std::int64_t enough_blocks = 1024, most_columns = 64, least_loads = 4;
  const auto shares = [](std::int64_t of, std::int64_t size) { return (of + size - 1) / size; };
  const auto smaller = [](std::int64_t a, std::int64_t b) { return a < b ? a : b; };
  const bool planar = layout == Layout::planar;
  const std::int64_t packs = planar ? 1 : sizes.channels / width;  // side by side
  const std::int64_t steps = planar ? sizes.pixels / width : sizes.pixels;
  const std::int64_t bands = shares(packs, most_columns);
  const std::int64_t columns = shares(packs, bands);
  const std::int64_t rows = smaller(most_threads / columns, steps);
  const std::int64_t tiles = planar ? sizes.channels : bands;
  const std::int64_t chunks =
      smaller(shares(enough_blocks, tiles * sizes.images), shares(steps, rows * least_loads));
  const std::int64_t chunk_steps = shares(shares(steps, chunks), rows) * rows;
  return {layout,
          sizes,
          silu,
          width,
          static_cast<int>(columns),
          static_cast<int>(rows),
          static_cast<int>(tiles),
          static_cast<int>(shares(steps, chunk_steps)),
          steps,
          chunk_steps};
}

/// Which block this is.
struct Place {
  int chunk;
  int tile;
  int image;
};

/// One thread's part of x.
template <Layout layout, int width>
struct Share {
  static constexpr int lanes = layout == Layout::planar ? 1 : width;

  const Plan& plan;
  Place place;
  std::int64_t channel;  ///< its first
  int row;
  bool idle;  ///< a column that the last tile does not have

  RENO_GPU Share(const Plan& plan, const Place& place, int thread)
      : plan(plan), place(place), row(thread / plan.columns) {
    const std::int64_t column = static_cast<std::int64_t>(place.tile) * plan.columns + thread % plan.columns;
    channel = layout == Layout::planar ? place.tile : column * width;
    idle = channel >= plan.sizes.channels;
  }

  /// visit(offset in x of a pack), for all of them.
  template <class Visit>
  RENO_GPU void each_pack(const Visit& visit) const {
    if (idle) return;
    const Sizes& sizes = plan.sizes;
    const std::int64_t end =
        place.chunk + 1 == plan.chunks ? plan.steps : (place.chunk + 1) * plan.chunk_steps;
    const std::int64_t stride = layout == Layout::planar ? width : sizes.channels;
    const std::int64_t start = layout == Layout::planar
                                   ? (place.image * sizes.channels + channel) * sizes.pixels
                                   : place.image * sizes.channels * sizes.pixels + channel;
    for (std::int64_t step = place.chunk * plan.chunk_steps + row; step < end; step += plan.rows)
      visit(start + step * stride);
  }

  /// visit(lane, channel, index of its group in the statistics), for all of them.
  template <class Visit>
  RENO_GPU void each_lane(const Visit& visit) const {
    if (idle) return;
    const std::int64_t size = plan.sizes.group_channels();
    std::int64_t group = channel / size, within = channel % size;
    for (int lane = 0; lane < lanes; ++lane) {
      visit(lane, channel + lane, place.image * plan.sizes.groups + group);
      if (++within == size) {
        within = 0;
        ++group;
      }
    }
  }

  /// Where the totals of a lane are kept for the second step: (image, chunk, channel).
  RENO_GPU std::int64_t total_index(int lane) const {
    return (static_cast<std::int64_t>(place.image) * plan.chunks + place.chunk) * plan.sizes.channels +
           channel + lane;
  }
};

/// Count, mean and sum of squared distances from it: of numbers one by one (Welford 1962) or of two sets
/// (Chan et al. 1983). Neither loses digits where the mean is large.
struct Moments {
  float count = 0, mean = 0, squares = 0;

  RENO_GPU void add(float x, float one_by_count) {
    const float distance = x - mean;
    mean += distance * one_by_count;
    squares += distance * (x - mean);
  }

  RENO_GPU void merge(const Moments& other) {
    if (other.count == 0) return;
    const float all = count + other.count, distance = other.mean - mean, share = other.count / all;
    mean += distance * share;
    squares += other.squares + distance * distance * count * share;
    count = all;
  }
};

/// Sums of g and g x'.
struct Products {
  float gradient = 0, product = 0;

  RENO_GPU void merge(const Products& other) {
    gradient += other.gradient;
    product += other.product;
  }
};

RENO_GPU inline float sigmoid(float x) { return 1 / (1 + expf(-x)); }

/// What normalises one channel of one image.
struct Channel {
  float mean = 0, rstd = 0, weight = 0, bias = 0;

  RENO_GPU float normalized(float x) const { return (x - mean) * rstd; }

  RENO_GPU float value(float x, bool silu) const {
    const float y = normalized(x) * weight + bias;
    return silu ? y * sigmoid(y) : y;
  }

  /// g, of a normalised x.
  RENO_GPU float gradient(float normalized, float dy, bool silu) const {
    if (!silu) return dy * weight;
    const float y = normalized * weight + bias, s = sigmoid(y);
    return dy * s * (1 + y * (1 - s)) * weight;
  }
};

/// The tensors; pointers that a step does not use are null.
template <class T>
struct Tensors {
  const T* x;
  const T* weight;    ///< (channels)
  const T* bias;      ///< (channels)
  const T* gradient;  ///< dy, like x
  T* result;          ///< y or dx, like x
  float* mean;        ///< (images, groups)
  float* rstd;        ///< (images, groups)
  float* sums;        ///< (images, groups, 2): the means of g and g x'
  void* totals;       ///< (images, chunks, channels) Moments or Products
};

template <class T, Layout layout, int width>
RENO_GPU void load_channels(const Share<layout, width>& share, const Tensors<T>& tensors, Channel* channels) {
  share.each_lane([&](int lane, std::int64_t channel, std::int64_t group) {
    channels[lane] = {tensors.mean[group], tensors.rstd[group], static_cast<float>(tensors.weight[channel]),
                      static_cast<float>(tensors.bias[channel])};
  });
}

/// The lane that number `i` of a pack belongs to.
template <Layout layout>
RENO_GPU constexpr int lane_of(int i) {
  return layout == Layout::planar ? 0 : i;
}

/// Forward, first step: Moments of a block's numbers by channel.
template <class T, Layout layout, int width>
struct SumMoments {
  using Total = Moments;
  using Mine = Share<layout, width>;

  RENO_GPU static void thread(const Mine& share, const Tensors<T>& tensors, Moments* mine) {
    Moments found[Mine::lanes];
    float pixels = 0;
    share.each_pack([&](std::int64_t offset) {
      const auto x = load<width>(tensors.x + offset);
      if constexpr (layout == Layout::planar) return found[0].merge(moments_of(x));
      pixels += 1;
      const float one_by_pixels = 1 / pixels;
      for (int i = 0; i < Mine::lanes; ++i) found[i].add(static_cast<float>(x.values[i]), one_by_pixels);
    });
    for (int lane = 0; lane < Mine::lanes; ++lane) {
      if (layout == Layout::channels_last) found[lane].count = pixels;
      mine[lane] = found[lane];
    }
  }

  RENO_GPU static Moments moments_of(const Pack<T, width>& x) {
    Moments found{width, 0, 0};
    for (const T& value : x.values) found.mean += static_cast<float>(value) / width;
    for (const T& value : x.values) {
      const float distance = static_cast<float>(value) - found.mean;
      found.squares += distance * distance;
    }
    return found;
  }
};

/// Backward, first step: Products of a block's numbers by channel.
template <class T, Layout layout, int width>
struct SumProducts {
  using Total = Products;
  using Mine = Share<layout, width>;

  RENO_GPU static void thread(const Mine& share, const Tensors<T>& tensors, Products* mine) {
    Channel channels[Mine::lanes];
    load_channels(share, tensors, channels);
    const bool silu = share.plan.silu;
    Products found[Mine::lanes];
    share.each_pack([&](std::int64_t offset) {
      const auto x = load<width>(tensors.x + offset);
      const auto dy = load<width>(tensors.gradient + offset);
      for (int i = 0; i < width; ++i) {
        const int lane = lane_of<layout>(i);
        const float normalized = channels[lane].normalized(static_cast<float>(x.values[i]));
        const float g = channels[lane].gradient(normalized, static_cast<float>(dy.values[i]), silu);
        found[lane].merge({g, g * normalized});
      }
    });
    for (int lane = 0; lane < Mine::lanes; ++lane) mine[lane] = found[lane];
  }
};

/// The first step of either way, in a block of plan.threads() threads; `shared` holds plan.lanes() totals of
/// each.
template <template <class, Layout, int> class Sum, class T, Layout layout, int width, class Block>
RENO_GPU void sum_channels(Block& block, const Plan& plan, const Place& place, const Tensors<T>& tensors,
                           typename Sum<T, layout, width>::Total* shared) {
  using Mine = Share<layout, width>;
  using Total = typename Sum<T, layout, width>::Total;
  block.each([&](int thread) {
    Sum<T, layout, width>::thread(Mine(plan, place, thread), tensors, shared + thread * Mine::lanes);
  });
  merge_rows(block, shared, Mine::lanes, plan.columns, plan.rows);
  block.each([&](int thread) {
    const Mine share(plan, place, thread);
    if (share.row != 0 || share.idle) return;
    for (int lane = 0; lane < Mine::lanes; ++lane)
      static_cast<Total*>(tensors.totals)[share.total_index(lane)] = shared[thread * Mine::lanes + lane];
  });
}

/// The second step: merges the totals of one group of one image in a block of `threads`, then calls
/// finish(index of the group in the statistics, its total) once.
template <class Total, class Block, class Finish>
RENO_GPU void merge_group(Block& block, const Plan& plan, int image, int group, int threads,
                          const void* totals, Total* shared, const Finish& finish) {
  const std::int64_t size = plan.sizes.group_channels();
  const Total* first = static_cast<const Total*>(totals) +
                       static_cast<std::int64_t>(image) * plan.chunks * plan.sizes.channels + group * size;
  block.each([&](int thread) {
    Total mine;
    for (std::int64_t i = thread; i < plan.chunks * size; i += threads)
      mine.merge(first[i / size * plan.sizes.channels + i % size]);
    shared[thread] = mine;
  });
  merge_rows(block, shared, 1, 1, threads);
  block.each([&](int thread) {
    if (thread == 0) finish(image * plan.sizes.groups + group, shared[0]);
  });
}

/// Of what was summed by SumMoments: mean and rstd.
template <class T>
RENO_GPU void finish_statistics(const Tensors<T>& tensors, std::int64_t index, const Moments& total,
                                float eps) {
  tensors.mean[index] = total.mean;
  tensors.rstd[index] = 1 / sqrtf(total.squares / total.count + eps);
}

/// Of what was summed by SumProducts: the means over a group.
template <class T>
RENO_GPU void finish_sums(const Tensors<T>& tensors, std::int64_t index, const Products& total,
                          const Sizes& sizes) {
  const float count = static_cast<float>(sizes.group_channels() * sizes.pixels);
  tensors.sums[2 * index] = total.gradient / count;
  tensors.sums[2 * index + 1] = total.product / count;
}

/// Forward, third step: one thread's part of y.
template <class T, Layout layout, int width>
RENO_GPU void write_values(const Plan& plan, const Place& place, int thread, const Tensors<T>& tensors) {
  using Mine = Share<layout, width>;
  const Mine share(plan, place, thread);
  Channel channels[Mine::lanes];
  load_channels(share, tensors, channels);
  const bool silu = plan.silu;
  share.each_pack([&](std::int64_t offset) {
    auto pack = load<width>(tensors.x + offset);
    for (int i = 0; i < width; ++i)
      pack.values[i] =
          static_cast<T>(channels[lane_of<layout>(i)].value(static_cast<float>(pack.values[i]), silu));
    store(tensors.result + offset, pack);
  });
}

/// Backward, third step: one thread's part of dx.
template <class T, Layout layout, int width>
RENO_GPU void write_gradient(const Plan& plan, const Place& place, int thread, const Tensors<T>& tensors) {
  using Mine = Share<layout, width>;
  const Mine share(plan, place, thread);
  Channel channels[Mine::lanes];
  Products means[Mine::lanes];
  load_channels(share, tensors, channels);
  const bool silu = plan.silu;
  share.each_lane([&](int lane, std::int64_t, std::int64_t group) {
    means[lane] = {tensors.sums[2 * group], tensors.sums[2 * group + 1]};
  });
  share.each_pack([&](std::int64_t offset) {
    auto pack = load<width>(tensors.x + offset);
    const auto dy = load<width>(tensors.gradient + offset);
    for (int i = 0; i < width; ++i) {
      const int lane = lane_of<layout>(i);
      const float normalized = channels[lane].normalized(static_cast<float>(pack.values[i]));
      const float g = channels[lane].gradient(normalized, static_cast<float>(dy.values[i]), silu);
      pack.values[i] =
          static_cast<T>(channels[lane].rstd * (g - means[lane].gradient - normalized * means[lane].product));
    }
    store(tensors.result + offset, pack);
  });
}

}  // namespace reno::kernels
