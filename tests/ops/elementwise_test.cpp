// What the op table does not reach: views, mixed dtypes, special values, in-place writers and bad arguments.
#include "../../ops/elementwise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "../../ops/activations.h"
#include "../../ops/cast.h"
#include "../../ops/reduce.h"
#include "../../ops/rms_norm.h"
#include "../../ops/rope.h"
#include "../../ops/softmax.h"
#include "../../ops/swiglu.h"
#include "../../ops/top_k.h"
#include "../expect_error.h"

namespace tenon {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

std::vector<float> values(const Tensor& t) { return ops::cast(t, DType::f32).to_vector<float>(); }

Tensor counted(const Shape& shape) {
  Tensor t = Tensor::empty(shape, DType::f32);
  for (int64_t i = 0; i < t.numel(); ++i) t.data<float>()[i] = static_cast<float>(i);
  return t;
}

TEST(Elementwise, ReadsViewsWhereTheyLie) {
  const Tensor a = counted({2, 3}), b = counted({3, 2});
  EXPECT_EQ(values(ops::add(a, b.transpose(0, 1))), (std::vector<float>{0, 3, 6, 4, 7, 10}));
  EXPECT_EQ(values(ops::neg(b.transpose(0, 1))), (std::vector<float>{0, -2, -4, -1, -3, -5}));
  EXPECT_EQ(values(ops::mul(counted({4, 4}).slice(1, 1, 3), Tensor::full({}, 2, DType::f32))),
            (std::vector<float>{2, 4, 10, 12, 18, 20, 26, 28}));
}

TEST(Elementwise, BroadcastsBothWays) {
  const Tensor column = Tensor::from({1.0f, 2.0f}, {2, 1}), row = Tensor::from({10.0f, 20.0f, 30.0f}, {3});
  const Tensor y = ops::add(column, row);
  EXPECT_EQ(y.shape(), (Shape{2, 3}));
  EXPECT_EQ(values(y), (std::vector<float>{11, 21, 31, 12, 22, 32}));
}

TEST(Elementwise, TheResultHasTheFirstDtype) {
  const Tensor a = Tensor::from({1.0f, 2.0f}, {2}), b = ops::cast(Tensor::from({0.5f, 0.25f}, {2}), DType::bf16);
  EXPECT_EQ(ops::add(a, b).dtype(), DType::f32);
  EXPECT_EQ(ops::add(b, a).dtype(), DType::bf16);
  EXPECT_EQ(values(ops::add(b, a)), (std::vector<float>{1.5f, 2.25f}));
}

TEST(Elementwise, NanIsKept) {
  const Tensor a = Tensor::from({kNaN, 1.0f}, {2}), b = Tensor::from({1.0f, kNaN}, {2});
  for (const Tensor& y : {ops::maximum(a, b), ops::minimum(a, b)})
    for (float v : values(y)) EXPECT_TRUE(std::isnan(v));
  EXPECT_TRUE(std::isnan(values(ops::clamp(a, 0, 1))[0]));
  EXPECT_TRUE(std::isnan(ops::max(a, 0).item<float>()));
  EXPECT_TRUE(std::isnan(values(ops::activation(ops::Activation::relu, a))[0]));
}

TEST(Elementwise, InPlaceWritersReachViewsAndCountVersions) {
  Tensor y = counted({2, 3});
  Tensor column = y.slice(1, 1, 2);
  const uint64_t before = y.version();
  ops::add_into(column, Tensor::full({2, 1}, 1, DType::bf16), 10);
  EXPECT_EQ(values(y), (std::vector<float>{0, 11, 2, 3, 14, 5}));
  ops::fill(column, 7);
  EXPECT_EQ(values(y), (std::vector<float>{0, 7, 2, 3, 7, 5}));
  ops::scale_in_place(y, 2);
  EXPECT_EQ(values(y), (std::vector<float>{0, 14, 4, 6, 14, 10}));
  Tensor transposed = y.transpose(0, 1);
  ops::copy_into(transposed, Tensor::from(std::vector<int64_t>{1, 2, 3, 4, 5, 6}, {3, 2}));
  EXPECT_EQ(values(y), (std::vector<float>{1, 3, 5, 2, 4, 6}));
  EXPECT_EQ(y.version(), before + 4);
}

TEST(Elementwise, SumToUndoesBroadcasting) {
  const Tensor x = counted({2, 3, 4});
  EXPECT_EQ(values(ops::sum_to(x, {})), (std::vector<float>{276}));
  EXPECT_EQ(values(ops::sum_to(x, {4})), (std::vector<float>{60, 66, 72, 78}));
  EXPECT_EQ(values(ops::sum_to(x, {3, 1})), (std::vector<float>{60, 92, 124}));
  EXPECT_EQ(ops::sum_to(x, {1, 3, 1}).shape(), (Shape{1, 3, 1}));
  EXPECT_EQ(values(ops::sum_to(Tensor::empty({0, 3}, DType::f32), {3})), (std::vector<float>{0, 0, 0}));
}

TEST(Elementwise, ShapesDtypesAndDevicesThatDoNotFitAreErrors) {
  const Tensor a = counted({2, 3}), b = counted({4}), ids = Tensor::from({1, 2, 3}, {3});
  EXPECT_ERROR(ops::add(a, b), "add: shapes [2, 3] and [4] do not broadcast");
  EXPECT_ERROR(ops::mul(a, ids), "mul: b [3] must be f32 or bf16, it is i32");
  EXPECT_ERROR(ops::exp(Tensor()), "exp: x is undefined");
  EXPECT_ERROR(ops::clamp(a, 2, 1), "clamp: the lower bound 2 is above the upper bound 1");
  EXPECT_ERROR(ops::sum_to(a, {2}), "sum_to: shapes [2, 3] and [2] do not broadcast");
  EXPECT_ERROR(ops::sum(a, 2), "sum: no dimension 2 in [2, 3]");
  EXPECT_ERROR(ops::mean(Tensor::empty({2, 0}, DType::f32), 1), "mean: dimension 1 of [2, 0] is empty");
  Tensor target = counted({3});
  EXPECT_ERROR(ops::add_into(target, a), "add_into: x [2, 3] does not broadcast to y [3]");
  EXPECT_ERROR(ops::copy_into(target, a), "copy_into: dst [3] and src [2, 3] must have the same shape");
}

TEST(RowOps, ArgumentsThatDoNotFitAreErrors) {
  const Tensor x = counted({2, 3});
  EXPECT_ERROR(ops::rms_norm(x, counted({4}), 1e-5f),
               "rms_norm: weight [4] must be one value for each channel of x [2, 3]");
  EXPECT_ERROR(ops::swiglu(x, counted({3, 2})), "swiglu: gate [2, 3] and up [3, 2] must have the same shape");
  EXPECT_ERROR(ops::softmax(Tensor::full({}, 1, DType::f32)), "softmax: x [] has no dimension to normalise over");
  EXPECT_ERROR(ops::top_k(x, 4), "top_k: 4 of the 3 elements of a row of [2, 3]");
  const double frequency[] = {1.0};
  const ops::RopeTable table = ops::rope_table(frequency, 8);
  EXPECT_ERROR(ops::rope(counted({2, 1, 2}), table, Tensor::from({7, 8}, {2})),
               "rope: position 8 of token 1 is outside the table of 8 positions");
  EXPECT_ERROR(ops::rope(counted({1, 1, 1}), table, Tensor::from({0}, {1})), "rope: the table turns 2 channels");
}

TEST(RowOps, WeightsMayBeOfTheOtherDtype) {
  const Tensor x = counted({2, 3}), w = ops::cast(Tensor::from({1.0f, 0.5f, 2.0f}, {3}), DType::bf16);
  const auto mixed = ops::rms_norm(x, w, 1e-5f), plain = ops::rms_norm(x, ops::cast(w, DType::f32), 1e-5f);
  EXPECT_EQ(values(mixed.y), values(plain.y));
}

TEST(RowOps, SoftmaxMasksAndRefusesNothingQuietly) {
  const Tensor x = Tensor::from({-kInfinity, 0.0f, -kInfinity, -kInfinity, kNaN, 1.0f}, {3, 2});
  const std::vector<float> y = values(ops::softmax(x));
  EXPECT_EQ(y[0], 0);
  EXPECT_EQ(y[1], 1);
  for (size_t i = 2; i < 6; ++i) EXPECT_TRUE(std::isnan(y[i])) << i;
}

TEST(RowOps, SwigluTakesHalvesOfOneProduct) {
  const Tensor both = ops::scale(counted({3, 8}), 0.1f);
  const Tensor gate = both.slice(1, 0, 4), up = both.slice(1, 4, 8);
  EXPECT_EQ(values(ops::swiglu(gate, up)), values(ops::swiglu(gate.contiguous(), up.contiguous())));
}

TEST(RowOps, RopeTakesSlicesOfOneProduct) {
  const Tensor qkv = ops::scale(counted({3, 6, 4}), 0.1f), k = qkv.slice(1, 4, 5);
  const double frequencies[] = {1.0, 0.1};
  const ops::RopeTable table = ops::rope_table(frequencies, 8);
  const Tensor positions = Tensor::from({0, 5, 7}, {3});
  EXPECT_EQ(values(ops::rope(k, table, positions)), values(ops::rope(k.contiguous(), table, positions)));
}

TEST(RowOps, TopKTakesTheLowerIndexOfEqualsAndNanLast) {
  const auto [v, i] = ops::top_k(Tensor::from({1.0f, 3.0f, kNaN, 3.0f, 2.0f}, {1, 5}), 5);
  EXPECT_EQ(i.to_vector<int32_t>(), (std::vector<int32_t>{1, 3, 4, 0, 2}));
  EXPECT_TRUE(std::isnan(v.to_vector<float>()[4]));
}

}  // namespace
}  // namespace tenon
