// Sums in 16 lanes. A reduction of `omp simd` may not be reassociated, so the compiler adds its lanes one after the
// other at the end; for short rows that costs more than the sum. These lanes are folded in halves, in one order on
// every processor.
#pragma once

#include <cstdint>

namespace tenon::ops::cpu {

constexpr int64_t kLanes = 16;

struct Lanes {
  alignas(64) float lane[kLanes] = {};

  float fold() {
    for (int64_t half = kLanes / 2; half > 0; half /= 2)
#pragma GCC unroll 8
      for (int64_t l = 0; l < half; ++l) lane[l] += lane[l + half];
    return lane[0];
  }
};

}  // namespace tenon::ops::cpu
