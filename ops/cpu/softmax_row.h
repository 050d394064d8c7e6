// Softmax and sigmoid of one short row of router logits.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace tenon::ops::cpu {

/// Returns the row's logsumexp.
inline float softmax_row(const float* x, int64_t n, float* y) {
  const float largest = *std::max_element(x, x + n);
  float sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += y[i] = std::exp(x[i] - largest);
  const float scale = 1 / sum;
  for (int64_t i = 0; i < n; ++i) y[i] *= scale;
  return largest + std::log(sum);
}

inline void sigmoid_row(const float* x, int64_t n, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = 1 / (1 + std::exp(-x[i]));
}

}  // namespace tenon::ops::cpu
