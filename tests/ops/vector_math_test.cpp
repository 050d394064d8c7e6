// The largest errors that ops/cpu/vector_math.h states, over floats spread evenly through all exponents.
#include "../../ops/cpu/vector_math.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace tenon::ops::cpu {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// In units of the last place of the exact result.
double ulps(float got, double exact) {
  if (static_cast<float>(exact) == got) return 0;
  int exponent = 0;
  std::frexp(exact, &exponent);
  return std::abs(got - exact) / std::ldexp(1.0, exponent - 24);
}

template <class F, class G>
double worst_ulps(F&& f, G&& exact, float low, float high) {
  double worst = 0;
  // 1009 is prime to every power of two: all mantissas and exponents are visited
  for (uint32_t bits = 0; bits < 0x7f800000u; bits += 1009) {
    for (const float x : {std::bit_cast<float>(bits), -std::bit_cast<float>(bits)}) {
      if (x < low || x > high) continue;
      const double e = exact(static_cast<double>(x));
      if (std::abs(e) < std::numeric_limits<float>::min()) continue;
      worst = std::max(worst, ulps(f(x), e));
    }
  }
  return worst;
}

TEST(VectorMath, Exp) {
  EXPECT_LE(worst_ulps([](float x) { return vexp(x); }, [](double x) { return std::exp(x); }, -87.3f, 88.7f), 1.0);
  EXPECT_EQ(vexp(0), 1);
  EXPECT_EQ(vexp(-88), 0);
  EXPECT_EQ(vexp(-kInfinity), 0);
  EXPECT_EQ(vexp(89), kInfinity);
  EXPECT_EQ(vexp(kInfinity), kInfinity);
  EXPECT_TRUE(std::isnan(vexp(kNaN)));
}

TEST(VectorMath, Log) {
  EXPECT_LE(worst_ulps([](float x) { return vlog(x); }, [](double x) { return std::log(x); }, 0, kInfinity), 2.0);
  EXPECT_EQ(vlog(1), 0);
  EXPECT_EQ(vlog(0), -kInfinity);
  EXPECT_EQ(vlog(kInfinity), kInfinity);
  EXPECT_TRUE(std::isnan(vlog(-1)));
  EXPECT_TRUE(std::isnan(vlog(kNaN)));
}

TEST(VectorMath, Log1pOfTheUnitInterval) {
  EXPECT_LE(worst_ulps([](float u) { return vlog1p_unit(u); }, [](double u) { return std::log1p(u); }, 0, 1), 2.0);
}

TEST(VectorMath, Sigmoid) {
  EXPECT_LE(worst_ulps([](float x) { return vsigmoid(x); }, [](double x) { return 1 / (1 + std::exp(-x)); }, -87, 100),
            3.0);
  EXPECT_EQ(vsigmoid(-kInfinity), 0);
  EXPECT_EQ(vsigmoid(kInfinity), 1);
  EXPECT_TRUE(std::isnan(vsigmoid(kNaN)));
}

TEST(VectorMath, Tanh) {
  EXPECT_LE(worst_ulps([](float x) { return vtanh(x); }, [](double x) { return std::tanh(x); }, -100, 100), 3.0);
  EXPECT_EQ(vtanh(-kInfinity), -1);
  EXPECT_EQ(vtanh(kInfinity), 1);
  EXPECT_TRUE(std::isnan(vtanh(kNaN)));
}

TEST(VectorMath, Softplus) {
  EXPECT_LE(worst_ulps([](float x) { return vsoftplus(x); },
                       [](double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }, -87, 1000),
            4.0);
}

TEST(VectorMath, NormalDistribution) {
  double worst = 0;
  for (float x = -9; x < 9; x += 1e-4f) {
    const double exact = 0.5 * std::erfc(-static_cast<double>(x) / std::sqrt(2.0));
    // x / sqrt(2), its square: each rounding of the exponent is multiplied by the exponent
    const double allowed = 4e-7 + 1.2e-7 * x * x;
    worst = std::max(worst, std::abs(vnormal_cdf(x) - exact) / exact / allowed);
  }
  EXPECT_LE(worst, 1.0);
}

}  // namespace
}  // namespace tenon::ops::cpu
