// Reductions and scans over a warp and over a block. All threads of the block call the block's; blocks are multiples of
// 32 threads. The order of the additions is fixed, so the same values give the same bits.
#pragma once

#include "../../runtime/cuda/launch.h"

namespace tenon {

struct Plus {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
struct Max {
  __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};

/// Every lane receives the result.
template <class T, class F>
__device__ T warp_reduce(T value, F combine) {
  for (int lanes = 16; lanes > 0; lanes /= 2) value = combine(value, __shfl_xor_sync(0xFFFFFFFFu, value, lanes));
  return value;
}

/// Every thread receives the result.
template <int kThreads, class T, class F>
__device__ T block_reduce(T value, F combine) {
  value = warp_reduce(value, combine);
  if constexpr (kThreads == 32) return value;
  TENON_SHARED(partial, T[kThreads / 32]);
  __syncthreads();  // an earlier call's partial results have been read
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = value;
  __syncthreads();
  T result = partial[0];
  for (int w = 1; w < kThreads / 32; ++w) result = combine(result, partial[w]);
  return result;
}

/// The sum over the lower threads; `total` receives the sum over all.
template <int kThreads, class T>
__device__ T block_exclusive_sum(T value, T& total) {
  TENON_SHARED(partial, T[kThreads / 32]);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  T sum = value;
  for (int lanes = 1; lanes < 32; lanes *= 2) {
    const T below = __shfl_up_sync(0xFFFFFFFFu, sum, lanes);
    if (lane >= lanes) sum += below;
  }
  __syncthreads();  // an earlier call's partial sums have been read
  if (lane == 31) partial[warp] = sum;
  __syncthreads();
  T before = 0;
  total = 0;
  for (int w = 0; w < kThreads / 32; ++w) {
    if (w == warp) before = total;
    total += partial[w];
  }
  return before + sum - value;
}

}  // namespace tenon
