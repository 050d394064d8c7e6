#include "../../runtime/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "../expect_error.h"

namespace tenon {
namespace {

TEST(DType, NamesGoBothWays) {
  for (DType dtype : {DType::f32, DType::bf16, DType::f16, DType::i32, DType::i64, DType::u8, DType::boolean})
    EXPECT_EQ(dtype_from_name(name(dtype)), dtype);
  EXPECT_EQ(dtype_from_name("bfloat16"), DType::bf16);
  EXPECT_EQ(size_of(DType::i64), 8u);
  EXPECT_EQ(size_of(DType::bf16), 2u);
  EXPECT_TRUE(is_floating(DType::f16));
  EXPECT_FALSE(is_floating(DType::i32));
  EXPECT_ERROR(dtype_from_name("f8"), "f8", "bf16");
}

// Every f16 is exact in f32 and comes back; values between two neighbours go to the nearer, ties to the even one.
TEST(DType, F16IsExactAndRoundsToNearestEven) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const f16 h{static_cast<uint16_t>(bits)};
    const float x = to_float(h);
    if ((bits & 0x7fff) > 0x7c00) {
      EXPECT_TRUE(std::isnan(x));
      EXPECT_TRUE(std::isnan(to_float(from_float<f16>(x))));
      continue;
    }
    const int exponent = static_cast<int>(bits >> 10 & 31), mantissa = static_cast<int>(bits & 1023);
    const double expected = exponent == 31  ? std::numeric_limits<double>::infinity()
                            : exponent == 0 ? std::ldexp(mantissa, -24)
                                            : std::ldexp(1024 + mantissa, exponent - 25);
    ASSERT_EQ(x, static_cast<float>(bits >> 15 ? -expected : expected)) << bits;
    ASSERT_EQ(from_float<f16>(x).bits, bits);
    if ((bits & 0x7fff) < 0x7bff) {
      const float next = to_float(f16{static_cast<uint16_t>(bits + 1)}), middle = (x + next) / 2;
      ASSERT_EQ(from_float<f16>(middle).bits, bits + (bits & 1)) << bits;
      ASSERT_EQ(from_float<f16>(std::nextafter(middle, x)).bits, bits) << bits;
      ASSERT_EQ(from_float<f16>(std::nextafter(middle, next)).bits, bits + 1) << bits;
    }
  }
  EXPECT_EQ(from_float<f16>(65519.996f).bits, 0x7bff);
  EXPECT_EQ(from_float<f16>(65520.0f).bits, 0x7c00);
  EXPECT_EQ(from_float<f16>(1e30f).bits, 0x7c00);
  EXPECT_EQ(from_float<f16>(-std::numeric_limits<float>::infinity()).bits, 0xfc00);
}

TEST(DType, Bf16RoundsToNearestEven) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const bf16 b{static_cast<uint16_t>(bits)};
    const float x = to_float(b);
    if (std::isnan(x)) {
      EXPECT_TRUE(std::isnan(to_float(from_float<bf16>(x))));
      continue;
    }
    ASSERT_EQ(from_float<bf16>(x).bits, bits);
    if ((bits & 0x7fff) >= 0x7f7f) continue;
    const float middle = std::bit_cast<float>(bits << 16 | 0x8000u);
    ASSERT_EQ(from_float<bf16>(middle).bits, bits + (bits & 1));
    ASSERT_EQ(from_float<bf16>(std::bit_cast<float>(bits << 16 | 0x7fffu)).bits, bits);
    ASSERT_EQ(from_float<bf16>(std::bit_cast<float>(bits << 16 | 0x8001u)).bits, bits + 1);
  }
  // The payload's upper bits may be zero: the result must still be a NaN, not an infinity.
  EXPECT_TRUE(std::isnan(to_float(from_float<bf16>(std::bit_cast<float>(0x7f800001u)))));
  EXPECT_EQ(from_float<bf16>(std::numeric_limits<float>::max()).bits, 0x7f80);
}

TEST(DType, DispatchTakesFloatsOnly) {
  size_t seen = 0;
  for_float_types(DType::f32, [&]<class T>() { seen = sizeof(T); });
  EXPECT_EQ(seen, 4u);
  for_float_types(DType::bf16, [&]<class T>() { seen = sizeof(T); });
  EXPECT_EQ(seen, 2u);
  EXPECT_ERROR(for_float_types(DType::f16, []<class T>() {}), "f16", "cast");
  for_all_types(DType::boolean, [&]<class T>() { seen = dtype_of<T> == DType::boolean ? 100 : 0; });
  EXPECT_EQ(seen, 100u);
}

}  // namespace
}  // namespace tenon
