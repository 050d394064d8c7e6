#include "../../runtime/random.h"

#include <gtest/gtest.h>

#include <cmath>

#include "../../runtime/threads.h"
#include "../expect_error.h"

namespace tenon {
namespace {

using Words = std::array<uint32_t, 4>;

// The three vectors for philox4x32-10 in Random123's kat_vectors.
TEST(Philox, GivesThePublishedAnswers) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}), (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Random, ElementsAreWordsOfBlocks) {
  const RandomKey key{uint64_t{2} << 32 | 1, uint64_t{4} << 32 | 3};
  const uint64_t element = (uint64_t{6} << 32 | 5) * 4 + 2;
  EXPECT_EQ(random_u32(key, element), philox4x32({5, 6, 3, 4}, {1, 2})[2]);
  EXPECT_NE(random_u32({1, 0}, 0), random_u32({2, 0}, 0));
  EXPECT_NE(random_u32({1, 0}, 0), random_u32({1, 1}, 0));
  EXPECT_FALSE(derive(key, 0) == derive(key, 1));
  EXPECT_EQ(derive(key, 7), derive(key, 7));
}

TEST(Random, FillsEqualSingleDrawsForAnyThreadsAndOffset) {
  const RandomKey key{11, 5};
  std::vector<float> uniform(100'003), normal(100'003);
  const int before = num_threads();
  for (int threads : {1, 3}) {
    set_num_threads(threads);
    fill_uniform(key, 6, uniform);
    fill_normal(key, 6, normal);
    for (size_t i = 0; i < uniform.size(); i += 997) {
      ASSERT_EQ(uniform[i], random_uniform(key, 6 + i));
      ASSERT_EQ(normal[i], random_normal(key, 6 + i));
    }
  }
  set_num_threads(before);
  fill_normal(key, 0, {});
}

TEST(Random, HasTheMomentsOfItsDistribution) {
  constexpr size_t n = 1 << 20;
  std::vector<float> u(n), z(n);
  fill_uniform({1, 2}, 0, u);
  fill_normal({1, 2}, 0, z);
  double su = 0, su2 = 0, sz = 0, sz2 = 0, sz4 = 0, lag = 0;
  for (size_t i = 0; i < n; ++i) {
    ASSERT_GE(u[i], 0.0f);
    ASSERT_LT(u[i], 1.0f);
    su += u[i], su2 += double{u[i]} * u[i];
    sz += z[i], sz2 += double{z[i]} * z[i], sz4 += std::pow(double{z[i]}, 4);
    if (i) lag += double{z[i]} * z[i - 1];
  }
  // Five standard errors of each mean over 2^20 draws.
  EXPECT_NEAR(su / n, 0.5, 5 * 0.289 / 1024);
  EXPECT_NEAR(su2 / n, 1.0 / 3, 5 * 0.298 / 1024);
  EXPECT_NEAR(sz / n, 0, 5.0 / 1024);
  EXPECT_NEAR(sz2 / n, 1, 5 * 1.414 / 1024);
  EXPECT_NEAR(sz4 / n, 3, 5 * 9.8 / 1024);
  EXPECT_NEAR(lag / n, 0, 5.0 / 1024);
  const double d = random_uniform_double({1, 2}, 3);
  EXPECT_TRUE(d >= 0 && d < 1);
  EXPECT_NE(d, static_cast<float>(d)) << "a double has more than a float's bits";
}

TEST(Rng, GoesOnFromASavedState) {
  Rng rng(42, 7);
  for (int i = 0; i < 5; ++i) rng.normal();
  Rng resumed(0);
  resumed.set_state(rng.seed(), rng.stream(), rng.position());
  std::vector<int> a(20), b(20);
  for (int i = 0; i < 20; ++i) a[static_cast<size_t>(i)] = b[static_cast<size_t>(i)] = i;
  rng.shuffle(a);
  resumed.shuffle(b);
  EXPECT_EQ(a, b);
  EXPECT_EQ(rng.uniform(), resumed.uniform());
  std::sort(b.begin(), b.end());
  for (int i = 0; i < 20; ++i) EXPECT_EQ(b[static_cast<size_t>(i)], i);
}

TEST(Rng, BelowIsUniform) {
  Rng rng(3);
  std::array<int, 6> count{};
  for (int i = 0; i < 60'000; ++i) ++count[rng.below(6)];
  for (int c : count) EXPECT_NEAR(c, 10'000, 5 * 91.3);  // five standard deviations of a binomial
  EXPECT_EQ(rng.below(1), 0u);
  EXPECT_ERROR(rng.below(0), "below(0)");
}

}  // namespace
}  // namespace tenon
