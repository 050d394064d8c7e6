#include "top_k.h"

#include <bit>

#include "../../runtime/workspace.h"
#include "radix_select.h"
#include "vectors.h"

namespace tenon::ops::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarpColumns = 512, kWarpK = 32;  // rows up to here are a warp's, and stay in its registers
constexpr int64_t kSharedItems = 4096;          // 32 KiB; more are sorted in global memory

// Equal values are equal keys: +0 and -0, and NaN with -inf, which nothing is below. The lower half of a bf16's is 0.
template <class T>
__device__ uint32_t key_of(T x) {
  const float v = as_float(x);
  return sort_key(v != v ? -INFINITY : v == 0 ? 0.0f : v) & (sizeof(T) == 2 ? 0xFFFF0000u : ~0u);
}

// Larger keys first, and of equal ones lower columns. No item is 0.
__device__ uint64_t item_of(uint32_t key, uint32_t column) { return uint64_t{key} << 32 | ~column; }
__device__ int column_of(uint64_t item) { return static_cast<int>(~static_cast<uint32_t>(item)); }

// A warp takes the largest item of its row k times.
template <class T>
__global__ void __launch_bounds__(kThreads)
    warp_kernel(const T* x, int64_t rows, int n, int k, T* values, int32_t* indices) {
  constexpr int kOwn = kWarpColumns / 32;
  const int64_t row = int64_t{blockIdx.x} * (kThreads / 32) + threadIdx.x / 32;
  if (row >= rows) return;
  const int lane = threadIdx.x % 32;
  x += row * n;
  uint64_t items[kOwn];
#pragma unroll
  for (int i = 0; i < kOwn; ++i) {
    const int c = i * 32 + lane;
    items[i] = c < n ? item_of(key_of(x[c]), static_cast<uint32_t>(c)) : 0;
  }
  for (int j = 0; j < k; ++j) {
    uint64_t largest = items[0];
#pragma unroll
    for (int i = 1; i < kOwn; ++i) largest = items[i] > largest ? items[i] : largest;
    largest = warp_reduce(largest, [](uint64_t a, uint64_t b) { return a > b ? a : b; });
#pragma unroll
    for (int i = 0; i < kOwn; ++i)
      if (items[i] == largest) items[i] = 0;
    if (lane == 0) {
      const int c = column_of(largest);
      values[row * k + j] = x[c];
      indices[row * k + j] = c;
    }
  }
}

// Falling; `count` a power of two. A pair is of one thread in each step.
__device__ void sort_items(uint64_t* items, int64_t count) {
  for (int64_t run = 2; run <= count; run *= 2)
    for (int64_t step = run / 2; step > 0; step /= 2) {
      __syncthreads();
      for (int64_t i = threadIdx.x; i < count / 2; i += kThreads) {
        const int64_t a = i / step * 2 * step + i % step, b = a + step;
        const uint64_t x = items[a], y = items[b];
        if (((a & run) == 0) == (x < y)) items[a] = y, items[b] = x;
      }
    }
  __syncthreads();
}

// A block a row: selects the k-th largest key, collects what is not below it in the order of columns, sorts that.
template <class T>
__global__ void __launch_bounds__(kThreads)
    block_kernel(const T* x, int64_t n, int k, int64_t padded, uint64_t* scratch, T* values, int32_t* indices) {
  const int64_t row = blockIdx.x;
  x += row * n;
  uint64_t* items = scratch ? scratch + row * padded : dynamic_shared<uint64_t>();
  const KthLargest kth = kth_largest<kThreads>(k, sizeof(T) == 2 ? 2 : 3, [&](auto f) {
    for (int64_t c = threadIdx.x; c < n; c += kThreads) f(key_of(x[c]));
  });

  int written = 0, equal_before = 0;
  for (int64_t c0 = 0; c0 < n; c0 += kThreads) {
    const int64_t c = c0 + threadIdx.x;
    const uint32_t key = c < n ? key_of(x[c]) : 0;
    const bool above = c < n && key > kth.key, equal = c < n && key == kth.key;
    if (!__syncthreads_or(above || equal)) continue;
    // Counts of both in one sum: a block has fewer than 2^16 threads.
    int all;
    const int before = block_exclusive_sum<kThreads>((above ? 1 : 0) | (equal ? 1 << 16 : 0), all);
    const int above_before = before & 0xFFFF, rank = equal_before + (before >> 16);
    const int kept_equal_before = min(rank, kth.equal) - min(equal_before, kth.equal);
    if (above || (equal && rank < kth.equal))
      items[written + above_before + kept_equal_before] = item_of(key, static_cast<uint32_t>(c));
    written += (all & 0xFFFF) + min(equal_before + (all >> 16), kth.equal) - min(equal_before, kth.equal);
    equal_before += all >> 16;
  }
  for (int64_t i = k + threadIdx.x; i < padded; i += kThreads) items[i] = 0;
  sort_items(items, padded);
  for (int64_t j = threadIdx.x; j < k; j += kThreads) {
    const int c = column_of(items[j]);
    values[row * k + j] = x[c];
    indices[row * k + j] = c;
  }
}

}  // namespace

void top_k(const Tensor& x, int64_t k, Tensor& values, Tensor& indices) {
  const int64_t rows = x.dim(0), n = x.dim(1);
  if (rows == 0) return;
  for_float_types(x.dtype(), [&]<class T>() {
    if (n <= kWarpColumns && k <= kWarpK) {
      const int64_t blocks = (rows + kThreads / 32 - 1) / (kThreads / 32);
      launch(warp_kernel<T>, {.grid = dim3(static_cast<unsigned>(blocks)), .block = dim3(kThreads)}, x.data<T>(), rows,
             static_cast<int>(n), static_cast<int>(k), values.data<T>(), indices.data<int32_t>());
      return;
    }
    const auto padded = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(k)));
    const bool in_shared = padded <= kSharedItems;
    auto scratch = Workspace::of(x.device()).get<uint64_t>(in_shared ? 0 : rows * padded);
    launch(block_kernel<T>,
           {.grid = dim3(static_cast<unsigned>(rows)),
            .block = dim3(kThreads),
            .shared_bytes = in_shared ? static_cast<size_t>(padded) * sizeof(uint64_t) : 0},
           x.data<T>(), n, static_cast<int>(k), padded, in_shared ? nullptr : scratch.data(), values.data<T>(),
           indices.data<int32_t>());
  });
}

}  // namespace tenon::ops::cuda
