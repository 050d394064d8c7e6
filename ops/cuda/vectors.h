// Values in 16-byte pieces, and the conversions between them and float.
//
//   const auto v = load<8>(x + i);            // eight bf16 with one access
//   store<8>(y + i, [&](int k) { return v[k] * factor; });
//
// Kernels take tenon's own types (float, bf16): one name for an element on host and device.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

#include "../../runtime/cuda/launch.h"
#include "../../runtime/dtype.h"

namespace tenon {

__device__ inline float as_float(float x) { return x; }
__device__ inline float as_float(bf16 x) { return __uint_as_float(static_cast<uint32_t>(x.bits) << 16); }

/// Rounds to nearest, ties to even, by the GPU's own instruction; from_float does the same in a dozen.
template <class T>
__device__ T round_to(float x) {
  if constexpr (std::is_same_v<T, bf16>) {
    return bf16{__bfloat16_as_ushort(__float2bfloat16_rn(x))};
  } else {
    return x;
  }
}

/// Elements of T in 16 bytes.
template <class T>
inline constexpr int kVector = 16 / static_cast<int>(sizeof(T));

/// N elements that move with one access; aligned to their size.
template <class T, int N>
struct alignas(sizeof(T) * N) Pack {
  T value[N];

  __device__ float operator[](int i) const { return as_float(value[i]); }
  __device__ void set(int i, float x) { value[i] = round_to<T>(x); }
};

template <int N, class T>
__device__ Pack<T, N> load(const T* p) {
  return *reinterpret_cast<const Pack<T, N>*>(p);
}
template <int N, class T>
__device__ void store(T* p, const Pack<T, N>& values) {
  *reinterpret_cast<Pack<T, N>*>(p) = values;
}
/// p[k] = f(k), rounded to T.
template <int N, class T, class F>
__device__ void store(T* p, F f) {
  Pack<T, N> values;
#pragma unroll
  for (int k = 0; k < N; ++k) values.set(k, f(k));
  store(p, values);
}

/// Whether what lies at `p` can be read `bytes` at a time.
__host__ __device__ inline bool is_aligned(const void* p, size_t bytes) {
  return reinterpret_cast<uintptr_t>(p) % bytes == 0;
}

}  // namespace tenon
