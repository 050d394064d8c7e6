#include "attention_blocks.h"

#include <cmath>
#include <limits>

#include "../../runtime/simd.h"
#include "fast_exp.h"

namespace tenon::ops::cpu {

TENON_CLONES void online_softmax_row(float* s, int64_t count, VisibleKeys keys, float* maximum, float* sum, float* out,
                                     int64_t width) {
  constexpr float kMasked = -std::numeric_limits<float>::infinity();
  if (keys.begin >= keys.end) {
    for (int64_t j = 0; j < count; ++j) s[j] = 0;
    return;
  }
  for (int64_t j = 0; j < keys.begin; ++j) s[j] = kMasked;
  for (int64_t j = keys.end; j < count; ++j) s[j] = kMasked;

  float block_max = kMasked;
#pragma omp simd reduction(max : block_max)
  for (int64_t j = 0; j < count; ++j) block_max = s[j] > block_max ? s[j] : block_max;

  const float before = *maximum;
  const float now = block_max > before ? block_max : before;
  const float shift = now == kMasked ? 0.0f : now;  // nothing seen yet: every term is 2^-inf = 0
  float block_sum = 0;
#pragma omp simd reduction(+ : block_sum)
  for (int64_t j = 0; j < count; ++j) {
    s[j] = exp2_nonpositive(s[j] - shift);
    block_sum += s[j];
  }
  if (now == before) {
    *sum += block_sum;
    return;
  }
  const float shrink = exp2_nonpositive(before - shift);
  *sum = *sum * shrink + block_sum;
  *maximum = now;
#pragma omp simd
  for (int64_t c = 0; c < width; ++c) out[c] *= shrink;
}

TENON_CLONES void softmax_backward_row(float* s, float* dp, int64_t count, VisibleKeys keys, float lse2, float delta) {
#pragma omp simd
  for (int64_t j = 0; j < count; ++j) {
    const bool visible = j >= keys.begin && j < keys.end;
    const float p = visible ? exp2_nonpositive(s[j] - lse2) : 0.0f;
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
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t c = 0; c < cols; ++c) sum += to_float(a[c]) * to_float(b[c]);
  return sum;
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
