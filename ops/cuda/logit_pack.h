// Four logits of a row at a time. kWidth 4 needs rows of a multiple of 4 that start at 16 bytes (8 of bf16); 1 needs
// neither and takes the same columns.
#pragma once

#include "vectors.h"

namespace tenon::ops::cuda {

/// v[i] = x[c + i], -inf beyond the row of n.
template <int kWidth>
__device__ void load_logits(const float* x, int64_t c, int64_t n, float (&v)[4]) {
  static_assert(kWidth == 1 || kWidth == 4);
  if (kWidth == 4 && c < n) {
    const auto pack = load<4>(x + c);
#pragma unroll
    for (int i = 0; i < 4; ++i) v[i] = pack[i];
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) v[i] = c + i < n ? x[c + i] : -INFINITY;
  }
}

/// y[c + i] = v[i] within the row.
template <int kWidth, class T>
__device__ void store_logits(T* y, int64_t c, int64_t n, const float (&v)[4]) {
  if constexpr (kWidth == 4) {
    store<4>(y + c, [&](int i) { return v[i]; });
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (c + i < n) y[c + i] = round_to<T>(v[i]);
  }
}

}  // namespace tenon::ops::cuda
