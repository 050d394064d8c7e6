// What the op table does not show of products: rows that do not depend on their company, threads, packed copies, mixed
// dtypes, beta, bad shapes.
#include "../../ops/linear.h"

#include <gtest/gtest.h>

#include <cstring>

#include "../../ops/matmul.h"
#include "../../runtime/random.h"
#include "../../runtime/threads.h"
#include "../expect_error.h"

namespace tenon {
namespace {

Tensor normal(const Shape& shape, DType dtype, uint64_t seed) {
  Rng rng(seed);
  Tensor x = Tensor::empty(shape, dtype);
  for_float_types(dtype, [&]<class T>() {
    for (int64_t i = 0; i < x.numel(); ++i) x.data<T>()[i] = from_float<T>(rng.normal());
  });
  return x;
}

double at(const Tensor& x, int64_t i) {
  return x.dtype() == DType::f32 ? x.data<float>()[i] : to_float(x.data<bf16>()[i]);
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.nbytes() == b.nbytes() && std::memcmp(a.raw(), b.raw(), a.nbytes()) == 0;
}

double largest_difference(const Tensor& a, const Tensor& b) {
  double largest = 0;
  for (int64_t i = 0; i < a.numel(); ++i) largest = std::max(largest, std::abs(at(a, i) - at(b, i)));
  return largest;
}

struct Threads {
  explicit Threads(int count) : before(num_threads()) { set_num_threads(count); }
  ~Threads() { set_num_threads(before); }
  int before;
};

class LinearRows : public ::testing::TestWithParam<std::tuple<DType, std::pair<int, int>, bool>> {};

// The sampler computes one row a sequence, training thousands: their log-probabilities must be the same numbers.
TEST_P(LinearRows, DoNotDependOnTheirNumber) {
  const auto [dtype, shape, packed] = GetParam();
  const auto [in, out] = shape;
  const Tensor x = normal({520, in}, dtype, 1), w = normal({out, in}, dtype, 2), dy = normal({520, out}, dtype, 3);
  const auto forward = packed ? ops::pack_weight(w, ops::PackFor::forward) : nullptr;
  const auto backward = packed ? ops::pack_weight(w, ops::PackFor::backward) : nullptr;
  const Tensor all = ops::linear(x, w, nullptr, forward.get());
  Tensor dx_all = Tensor::like(x);
  ops::linear_backward_input(dx_all, 0, dy, w, backward.get());
  for (int rows : {1, 2, 8, 15, 17, 33, 64, 127, 512}) {
    for (int threads : {1, 2}) {
      Threads count(threads);
      const Tensor some = ops::linear(x.slice(0, 5, 5 + rows), w, nullptr, forward.get());
      EXPECT_TRUE(same_bits(some, all.slice(0, 5, 5 + rows))) << rows << " rows, " << threads << " threads";
      Tensor dx = Tensor::empty({rows, in}, dtype);
      ops::linear_backward_input(dx, 0, dy.slice(0, 0, rows), w, backward.get());
      EXPECT_TRUE(same_bits(dx, dx_all.slice(0, 0, rows))) << rows << " rows of dx, " << threads << " threads";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, LinearRows,
                         ::testing::Combine(::testing::Values(DType::f32, DType::bf16),
                                            ::testing::Values(std::pair(64, 64), std::pair(97, 64), std::pair(97, 100),
                                                              std::pair(576, 192), std::pair(1536, 100)),
                                            ::testing::Bool()));

TEST(Linear, PackedAgreesWithPlain) {
  for (DType dtype : {DType::f32, DType::bf16}) {
    const Tensor x = normal({37, 200}, dtype, 1), w = normal({130, 200}, dtype, 2);
    const auto packed = ops::pack_weight(w, ops::PackFor::forward);
    ASSERT_NE(packed, nullptr);
    EXPECT_GE(packed->nbytes(), w.nbytes());
    const Tensor a = ops::linear(x, w, nullptr, nullptr, DType::f32),
                 b = ops::linear(x, w, nullptr, packed.get(), DType::f32);
    EXPECT_LT(largest_difference(a, b), 2e-4);  // sums of 200 products of size 1, in another order
  }
}

TEST(Linear, PackedMemoryIsReused) {
  const Tensor x = normal({9, 64}, DType::f32, 1), first = normal({48, 64}, DType::f32, 2),
               second = normal({48, 64}, DType::f32, 3);
  auto packed = ops::pack_weight(first, ops::PackFor::forward);
  const ops::PackedWeight* before = packed.get();
  packed = ops::pack_weight(second, ops::PackFor::forward, std::move(packed));
  EXPECT_EQ(packed.get(), before);
  EXPECT_TRUE(same_bits(ops::linear(x, second, nullptr, packed.get()),
                        ops::linear(x, second, nullptr, ops::pack_weight(second, ops::PackFor::forward).get())));
  const auto held = packed;
  EXPECT_NE(ops::pack_weight(first, ops::PackFor::forward, std::move(packed)).get(), before) << "others still read it";
}

TEST(Linear, MixedDtypes) {
  const Tensor x = normal({19, 80}, DType::bf16, 1), w = normal({33, 80}, DType::bf16, 2);
  Tensor wide = Tensor::empty(x.shape(), DType::f32);
  for (int64_t i = 0; i < x.numel(); ++i) wide.data<float>()[i] = to_float(x.data<bf16>()[i]);
  const Tensor plain = ops::linear(x, w, nullptr, nullptr, DType::f32);
  EXPECT_EQ(ops::linear(x, w).dtype(), DType::bf16);
  const Tensor mixed = ops::linear(wide, w);
  EXPECT_EQ(mixed.dtype(), DType::f32);
  EXPECT_LT(largest_difference(plain, mixed), 1e-4);
  EXPECT_LT(largest_difference(mixed, ops::linear(wide, w, nullptr, ops::pack_weight(w, ops::PackFor::forward).get())),
            1e-4);
  EXPECT_ERROR(ops::linear(x, mixed.slice(1, 0, 33).transpose(0, 1).contiguous()), "linear");
}

TEST(Linear, BetaAddsToWhatIsThere) {
  for (DType dtype : {DType::f32, DType::bf16}) {
    const Tensor dy = normal({70, 40}, dtype, 1), w = normal({40, 24}, dtype, 2);
    Tensor once = Tensor::empty({70, 24}, DType::f32), twice = Tensor::full({70, 24}, 3, DType::f32);
    ops::linear_backward_input(once, 0, dy, w);
    ops::linear_backward_input(twice, 1, dy, w);
    for (int64_t i = 0; i < once.numel(); ++i) EXPECT_NEAR(twice.data<float>()[i], once.data<float>()[i] + 3, 2e-5);
  }
}

TEST(Linear, WeightGradientOfManyRowsIsTheSameForAnyThreads) {
  for (DType dtype : {DType::f32, DType::bf16}) {
    const Tensor x = normal({1500, 96}, dtype, 1), dy = normal({1500, 64}, dtype, 2);
    Tensor one = Tensor::zeros({64, 96}, DType::f32), two = Tensor::zeros({64, 96}, DType::f32),
           db1 = Tensor::zeros({64}, DType::f32), db2 = Tensor::zeros({64}, DType::f32);
    {
      Threads count(1);
      ops::linear_backward_weight(one, dy, x);
      ops::linear_backward_bias(db1, dy);
    }
    Threads count(2);
    ops::linear_backward_weight(two, dy, x);
    ops::linear_backward_bias(db2, dy);
    EXPECT_TRUE(same_bits(one, two));
    EXPECT_TRUE(same_bits(db1, db2));
    double sum = 0;
    for (int64_t r = 0; r < 1500; ++r) sum += at(dy, r * 64 + 5) * at(x, r * 96 + 7);
    EXPECT_NEAR(one.data<float>()[5 * 96 + 7], sum, 2e-3);
  }
}

TEST(Linear, BadShapes) {
  const Tensor x = normal({3, 8}, DType::f32, 1), w = normal({5, 7}, DType::f32, 2), bias = normal({4}, DType::f32, 3);
  EXPECT_ERROR(ops::linear(x, w), "[3, 8]", "[5, 7]");
  EXPECT_ERROR(ops::linear(x, normal({5, 8}, DType::f32, 1), &bias), "bias", "[4]", "[5]");
  Tensor dx = Tensor::empty({3, 7}, DType::f32), dw = Tensor::zeros({5, 7}, DType::f32);
  EXPECT_ERROR(ops::linear_backward_input(dx, 0, x, w), "[3, 8]", "[5, 7]");
  EXPECT_ERROR(ops::linear_backward_input(dx, 0.5f, normal({3, 5}, DType::f32, 1), w), "beta");
  EXPECT_ERROR(ops::linear_backward_weight(dw, x, normal({4, 7}, DType::f32, 1)), "[3, 8]", "[4, 7]");
  EXPECT_ERROR(ops::linear_backward_weight(dw, x, normal({3, 7}, DType::f32, 1)), "dw", "[8, 7]", "[5, 7]");
  EXPECT_ERROR(ops::pack_weight(Tensor::zeros({4}, DType::f32), ops::PackFor::forward), "[4]");
  const auto packed = ops::pack_weight(w, ops::PackFor::backward);
  EXPECT_ERROR(ops::linear(normal({3, 7}, DType::f32, 1), w, nullptr, packed.get()), "packed", "backward", "forward");
}

// Heads brought to the front against a part of each head's weight, as latent attention multiplies them.
TEST(Matmul, ReadsViewsWhereTheyLie) {
  for (DType dtype : {DType::f32, DType::bf16}) {
    const Tensor weight = normal({4, 30, 48}, dtype, 2), x = normal({37, 4, 52}, dtype, 1);
    const Tensor part = weight.slice(1, 6, 30), heads = x.slice(2, 0, 24).transpose(0, 1);
    const Tensor wide = x.slice(2, 4, 52).transpose(0, 1);
    const Tensor copy = part.contiguous();
    const Tensor to_in = ops::matmul(heads, part), to_out = ops::matmul(wide, part, false, true);
    EXPECT_TRUE(same_bits(to_in, ops::matmul(heads.contiguous(), copy))) << name(dtype);
    EXPECT_TRUE(same_bits(to_out, ops::matmul(wide.contiguous(), copy, false, true))) << name(dtype);
    // Rows do not depend on their number.
    for (int rows : {1, 2, 17}) {
      for (int threads : {1, 2}) {
        Threads count(threads);
        const Tensor few = ops::matmul(x.slice(0, 0, rows).slice(2, 0, 24).transpose(0, 1), part);
        for (int64_t h = 0; h < 4; ++h)
          EXPECT_TRUE(same_bits(few.select(0, h), to_in.select(0, h).slice(0, 0, rows)))
              << rows << " rows, " << threads << " threads, " << name(dtype);
      }
    }
  }
}

TEST(Matmul, BadShapes) {
  const Tensor a = normal({2, 3, 4}, DType::f32, 1), b = normal({2, 5, 6}, DType::f32, 2);
  EXPECT_ERROR(ops::matmul(a, b), "[2, 3, 4]", "[2, 5, 6]");
  EXPECT_ERROR(ops::matmul(a, normal({3, 4, 6}, DType::f32, 2)), "[2, 3, 4]", "[3, 4, 6]");
  EXPECT_ERROR(ops::matmul(a, normal({4}, DType::f32, 2)), "[4]");
  EXPECT_ERROR(ops::matmul(a, normal({4, 6}, DType::bf16, 2)), "f32", "bf16");
  Tensor c = Tensor::empty({2, 3, 6}, DType::bf16);
  EXPECT_ERROR(ops::matmul_into(c, a, normal({4, 6}, DType::f32, 2), false, false, 0), "bf16");
}

}  // namespace
}  // namespace tenon
