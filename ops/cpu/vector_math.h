// exp, log, tanh and relatives for loops under `#pragma omp simd`: no branches, no tables, no calls, so that they
// vectorise for any instruction set. Errors below are the largest seen over all floats of the range, in units of the
// last place of f32 (ulp); they are tested.
//
// Polynomials are minimax fits made for these ranges (Remez), given with the error that they leave.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace tenon::ops::cpu {

namespace math {
constexpr float kLog2e = 1.44269504088896341f;
constexpr float kLn2High = 0.693359375f;  // nine bits: n * kLn2High is exact
constexpr float kLn2Low = -2.12194440e-4f;
constexpr float kRoundBits = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
}  // namespace math

/// e^x, 1 ulp. 0 below -87.33, where the result would be subnormal; infinity above 88.72; NaN stays NaN.
[[gnu::always_inline]] inline float vexp(float x) {
  float c = x < -87.33f ? -87.33f : x;
  c = c > 89.0f ? 89.0f : c;
  const float shifted = c * math::kLog2e + math::kRoundBits;
  const float n = shifted - math::kRoundBits;
  const float r = (c - n * math::kLn2High) - n * math::kLn2Low;  // |r| <= ln 2 / 2
  // (e^r - 1 - r) / r^2, 3e-9 of e^r
  float p = 0.001381314508f;
  p = p * r + 0.008369418836f;
  p = p * r + 0.04166845678f;
  p = p * r + 0.1666651479f;
  p = p * r + 0.4999999305f;
  const float er = (p * r) * r + r + 1.0f;
  // 2^n in two factors: n = 128 alone would not fit the exponent.
  const int32_t k = std::bit_cast<int32_t>(shifted) - std::bit_cast<int32_t>(math::kRoundBits);
  const int32_t half = k >> 1;
  const float y = er * std::bit_cast<float>((half + 127) << 23) * std::bit_cast<float>((k - half + 127) << 23);
  return x < -87.33f ? 0.0f : y;
}

/// ln x, 2 ulp. -infinity for 0, NaN below 0, also right for subnormal x.
[[gnu::always_inline]] inline float vlog(float x) {
  const bool tiny = x < 1.17549435e-38f;
  const float scaled = tiny ? x * 0x1p24f : x;
  // x = m 2^e with m in [sqrt(1/2), sqrt(2))
  const int32_t bits = std::bit_cast<int32_t>(scaled);
  const int32_t e = static_cast<int32_t>(static_cast<uint32_t>(bits) - 0x3f3504f3u) >> 23;
  const float m = std::bit_cast<float>(static_cast<uint32_t>(bits) - (static_cast<uint32_t>(e) << 23));
  const float ef = static_cast<float>(e) - (tiny ? 24.0f : 0.0f);
  // ln m = 2 atanh(s), s = (m - 1) / (m + 1); (atanh(s) / s - 1) / s^2 to 8e-10
  const float s = (m - 1.0f) / (m + 1.0f), z = s * s;
  const float p = (0.1493957133f * z + 0.1998864389f) * z + 0.3333338912f;
  const float ln_m = 2.0f * s + 2.0f * s * (z * p);
  float y = ef * math::kLn2High + (ef * math::kLn2Low + ln_m);
  y = x == std::numeric_limits<float>::infinity() ? x : y;
  y = x == 0.0f ? -std::numeric_limits<float>::infinity() : y;
  return x >= 0.0f ? y : std::numeric_limits<float>::quiet_NaN();
}

/// ln(1 + u) for u in [0, 1], 2 ulp.
[[gnu::always_inline]] inline float vlog1p_unit(float u) {
  // 2 atanh(s), s = u / (2 + u) <= 1/3; the polynomial to 1e-10
  const float s = u / (2.0f + u), z = s * s;
  float p = 0.1215044525f;
  p = p * z + 0.1071383538f;
  p = p * z + 0.1430844173f;
  p = p * z + 0.199994389f;
  p = p * z + 0.3333333781f;
  return 2.0f * s + 2.0f * s * (z * p);
}

/// 1 / (1 + e^-x), 3 ulp; 0 below -88.7.
[[gnu::always_inline]] inline float vsigmoid(float x) { return 1.0f / (1.0f + vexp(-x)); }

/// 3 ulp.
[[gnu::always_inline]] inline float vtanh(float x) {
  const float a = std::fabs(x), z = x * x;
  // |x| < 0.625: (tanh(x) / x - 1) / x^2 to 4e-9
  float p = -0.005717050084f;
  p = p * z + 0.02065059235f;
  p = p * z - 0.05374349987f;
  p = p * z + 0.1333149131f;
  p = p * z - 0.3333328393f;
  const float near = x + x * (z * p);
  const float far = std::copysign(1.0f - 2.0f / (vexp(2.0f * a) + 1.0f), x);
  return a < 0.625f ? near : far;
}

/// erfc(a) for a >= 0 to 6e-8 of it plus what exp(-a^2) loses (4 a^2 ulp); 0 beyond 9.3.
[[gnu::always_inline]] inline float verfc_positive(float a) {
  const float t = 1.0f / (1.0f + 0.4f * a);
  // erfc(a) e^(a^2) / t
  float p = 0.04026745687f;
  p = p * t - 0.1354708873f;
  p = p * t + 0.07384170969f;
  p = p * t + 0.09973008972f;
  p = p * t + 0.07150795293f;
  p = p * t + 0.1969631774f;
  p = p * t + 0.2009585453f;
  p = p * t + 0.2265757151f;
  p = p * t + 0.2256262979f;
  return p * t * vexp(-a * a);
}

/// The normal distribution's Phi(x) = erfc(-x / sqrt(2)) / 2, without cancellation on either side.
[[gnu::always_inline]] inline float vnormal_cdf(float x) {
  const float tail = 0.5f * verfc_positive(std::fabs(x) * 0.707106781186547524f);
  return x < 0.0f ? tail : 1.0f - tail;
}

/// ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|).
[[gnu::always_inline]] inline float vsoftplus(float x) {
  return (x > 0.0f ? x : 0.0f) + vlog1p_unit(vexp(-std::fabs(x)));
}

}  // namespace tenon::ops::cpu
