#include "attention_blocks.h"

#include <cmath>
#include <limits>

#include "../../runtime/simd.h"
#include "fast_exp.h"
#include "lanes.h"

namespace tenon::ops::cpu {
namespace {

constexpr float kMasked = -std::numeric_limits<float>::infinity();

}  // namespace

TENON_CLONES void online_softmax_row(float* s, int32_t count, VisibleKeys keys, float* maximum, float* sum, float* out,
                                     int32_t width) {
  const int32_t begin = static_cast<int32_t>(keys.begin), end = static_cast<int32_t>(keys.end);
  if (begin >= end) {
#pragma omp simd
    for (int32_t j = 0; j < count; ++j) s[j] = 0;
    return;
  }
  float block_max = kMasked;
#pragma omp simd reduction(max : block_max)
  for (int32_t j = 0; j < count; ++j) {
    const float score = (j >= begin) & (j < end) ? s[j] : kMasked;
    block_max = score > block_max ? score : block_max;
  }
  const float before = *maximum;
  const float now = block_max > before ? block_max : before;
  const float shift = now == kMasked ? 0.0f : now;  // nothing but -inf so far: every term is 2^-inf = 0
  Lanes lanes;
  for (int32_t first = 0; first < count; first += kLanes) {
#pragma omp simd
    for (int32_t l = 0; l < kLanes; ++l) {
      const int32_t j = first + l;
      const float e = exp2_nonpositive(s[j] - shift);
      const float p = (j >= begin) & (j < end) ? e : 0.0f;
      s[j] = p;
      lanes.lane[l] += p;
    }
  }
  const float block_sum = lanes.fold();
  if (now == before) {
    *sum += block_sum;
    return;
  }
  const float shrink = exp2_nonpositive(before - shift);
  *sum = *sum * shrink + block_sum;
  *maximum = now;
  if (shrink == 0) {  // the first block: there is nothing yet
#pragma omp simd
    for (int32_t c = 0; c < width; ++c) out[c] = 0;
    return;
  }
#pragma omp simd
  for (int32_t c = 0; c < width; ++c) out[c] *= shrink;
}

TENON_CLONES void softmax_backward_row(float* s, float* dp, int32_t count, VisibleKeys keys, float lse2, float delta) {
  const int32_t begin = static_cast<int32_t>(keys.begin), end = static_cast<int32_t>(keys.end);
#pragma omp simd
  for (int32_t j = 0; j < count; ++j) {
    const float e = exp2_nonpositive(s[j] - lse2);
    const float p = (j >= begin) & (j < end) ? e : 0.0f;
    s[j] = p;
    dp[j] = p * (dp[j] - delta);
  }
}

template <class T>
TENON_CLONES void pack_rows(float* dst, int64_t ld, const T* src, int64_t stride, int64_t rows, int64_t cols,
                            float scale) {
  for (int64_t r = 0; r < rows; ++r) {
    const T* from = src + r * stride;
    float* to = dst + r * ld;
#pragma omp simd
    for (int64_t c = 0; c < cols; ++c) to[c] = to_float(from[c]) * scale;
    for (int64_t c = cols; c < ld; ++c) to[c] = 0;
  }
}

template <class T>
TENON_CLONES void unpack_row(T* dst, const float* src, int64_t cols, float scale) {
#pragma omp simd
  for (int64_t c = 0; c < cols; ++c) dst[c] = from_float<T>(src[c] * scale);
}

template <class T>
TENON_CLONES float dot_row(const T* a, const T* b, int64_t cols) {
  Lanes lanes;
  int64_t first = 0;
  for (; first + kLanes <= cols; first += kLanes)
#pragma omp simd
    for (int64_t l = 0; l < kLanes; ++l) lanes.lane[l] += to_float(a[first + l]) * to_float(b[first + l]);
  for (int64_t l = 0; first + l < cols; ++l) lanes.lane[l] += to_float(a[first + l]) * to_float(b[first + l]);
  return lanes.fold();
}

TENON_CLONES void unpack_key_pairs(float* dst, const bf16* src, int64_t cols) {
  for (int64_t c = 0; c < cols; c += 2) {
    const bf16* pairs = src + c * kKeyBlock;
#pragma omp simd
    for (int64_t j = 0; j < kKeyBlock; ++j) {
      dst[c * kKeyBlock + j] = to_float(pairs[2 * j]);
      dst[(c + 1) * kKeyBlock + j] = to_float(pairs[2 * j + 1]);
    }
  }
}

template void pack_rows<float>(float*, int64_t, const float*, int64_t, int64_t, int64_t, float);
template void unpack_row<float>(float*, const float*, int64_t, float);
template float dot_row<float>(const float*, const float*, int64_t);
template void pack_rows<bf16>(float*, int64_t, const bf16*, int64_t, int64_t, int64_t, float);
template void unpack_row<bf16>(bf16*, const float*, int64_t, float);
template float dot_row<bf16>(const bf16*, const bf16*, int64_t);

}  // namespace tenon::ops::cpu
