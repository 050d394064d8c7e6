// The k-th largest of a row by its bits: three rounds over the row, each of which counts keys by 11 more of their bits.
// By one block.
#pragma once

#include <cstdint>

#include "block.h"

namespace tenon::ops::cuda {

/// Unsigned integers in the order of the floats, -0 below +0.
__device__ inline uint32_t sort_key(float x) {
  const uint32_t bits = __float_as_uint(x);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}
__device__ inline float from_sort_key(uint32_t key) {
  return __uint_as_float(key & 0x80000000u ? key & 0x7FFFFFFFu : ~key);
}

struct KthLargest {
  uint32_t key;
  int equal;  // keys equal to it that are among the k largest
};

/// Of the keys that each(f) gives to f, this thread's ones in each thread; each is called once a round. `rounds` 2 is
/// enough for keys whose lowest ten bits are 0.
template <int kThreads, class Each>
__device__ KthLargest kth_largest(int k, int rounds, Each each) {
  constexpr int kBuckets = 2048, kOwn = kBuckets / kThreads;
  static_assert(kBuckets % kThreads == 0);
  TENON_SHARED(counts, int[kBuckets]);
  TENON_SHARED(chosen, int[2]);  // the bucket of the k-th largest key, and how many of its keys are wanted
  KthLargest kth{0, k};
  for (int round = 0; round < rounds; ++round) {
    const int shift = round == 0 ? 21 : round == 1 ? 10 : 0;
    const uint32_t buckets = round == 2 ? kBuckets / 2 : kBuckets,
                   known = round == 0 ? 0 : ~0u << (shift + (round == 2 ? 10 : 11));
    for (int i = threadIdx.x; i < kBuckets; i += kThreads) counts[i] = 0;
    __syncthreads();
    each([&](uint32_t key) {
      if ((key & known) == kth.key) atomicAdd(&counts[key >> shift & (buckets - 1)], 1);
    });
    __syncthreads();
    int own[kOwn], sum = 0, all;
#pragma unroll
    for (int i = 0; i < kOwn; ++i) sum += own[i] = counts[kBuckets - 1 - (static_cast<int>(threadIdx.x) * kOwn + i)];
    int larger = block_exclusive_sum<kThreads>(sum, all);
    if (larger < kth.equal && kth.equal <= larger + sum) {
#pragma unroll
      for (int i = 0; i < kOwn; ++i) {
        if (larger < kth.equal && kth.equal <= larger + own[i]) {
          chosen[0] = kBuckets - 1 - (static_cast<int>(threadIdx.x) * kOwn + i);
          chosen[1] = kth.equal - larger;
        }
        larger += own[i];
      }
    }
    __syncthreads();
    kth.key |= static_cast<uint32_t>(chosen[0]) << shift;
    kth.equal = chosen[1];
  }
  __syncthreads();  // the choice has been read
  return kth;
}

}  // namespace tenon::ops::cuda
