// How a kernel's work is written down here: as a function of a block of threads, in phases that end at a
// barrier. On a GPU `each` runs a phase once in every thread; the tests run the same functions on the CPU,
// thread by thread.
#pragma once

#if defined(__CUDACC__)
#define RENO_GPU __host__ __device__
#else
#define RENO_GPU
#endif

namespace reno::kernels {

/// Neighbouring numbers that are loaded and stored at once.
template <class T, int width>
struct alignas(sizeof(T) * width) Pack {
  T values[width];
};

template <int width, class T>
RENO_GPU Pack<T, width> load(const T* from) {
  return *reinterpret_cast<const Pack<T, width>*>(from);
}

template <class T, int width>
RENO_GPU void store(T* to, const Pack<T, width>& pack) {
  *reinterpret_cast<Pack<T, width>*>(to) = pack;
}

/// Merges the totals of a block's threads in a tree: those of the `rows` threads with equal `thread %
/// columns`, into that of the first. A thread has `lanes` totals in `totals`.
template <class Total, class Block>
RENO_GPU void merge_rows(Block& block, Total* totals, int lanes, int columns, int rows) {
  for (int active = rows; active > 1; active = (active + 1) / 2) {
    const int half = (active + 1) / 2;
    block.each([&](int thread) {
      if (thread / columns + half >= active) return;
      for (int lane = 0; lane < lanes; ++lane)
        totals[thread * lanes + lane].merge(totals[(thread + half * columns) * lanes + lane]);
    });
  }
}

}  // namespace reno::kernels
