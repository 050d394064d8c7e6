// exp and exp2 for arguments that are not above zero (softmax after the maximum is taken off), as straight lines of
// arithmetic that `omp simd` vectorises. Relative error below 2e-7; exactly 0 below 2^-126, and NaN stays NaN.
// Polynomial: Cephes expf (S. Moshier).
#pragma once

#include <bit>
#include <cstdint>

namespace tenon::ops::cpu {

namespace fast_exp_detail {

// Adding this rounds to an integer, which then stands in the low bits.
constexpr float kRound = 12582912.0f;  // 1.5 * 2^23

inline float exp_reduced(float r) {  // |r| <= ln(2) / 2
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  return p * r * r + r + 1.0f;
}

inline float two_to(float rounded) {
  return std::bit_cast<float>((std::bit_cast<uint32_t>(rounded) << 23) + 0x3f800000u);
}

}  // namespace fast_exp_detail

/// 2^x for x <= 0.
inline float exp2_nonpositive(float x) {
  using namespace fast_exp_detail;
  const float rounded = x + kRound;
  const float y = exp_reduced((x - (rounded - kRound)) * 0.693147182f) * two_to(rounded);
  return x < -126.0f ? 0.0f : y;
}

/// e^x for x <= 0. The reduction is in two parts, so that the error does not grow with |x|.
inline float exp_nonpositive(float x) {
  using namespace fast_exp_detail;
  const float rounded = x * 1.44269504f + kRound;
  const float n = rounded - kRound;
  const float y = exp_reduced((x - n * 0.693359375f) + n * 2.12194440e-4f) * two_to(rounded);
  return x < -87.3f ? 0.0f : y;
}

}  // namespace tenon::ops::cpu
