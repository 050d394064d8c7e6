#include <gtest/gtest.h>

#include "../../autograd/arithmetic.h"
#include "../../autograd/gradient_check.h"
#include "../../autograd/indexing.h"
#include "../../autograd/parameters.h"
#include "../../autograd/recompute.h"
#include "../../autograd/var.h"
#include "../../ops/elementwise.h"
#include "../../runtime/error.h"

namespace tenon {
namespace {

Var leaf(std::vector<float> values) { return Var(Tensor::from_vector(values), true); }
std::vector<float> grad_of(const Var& v) { return v.grad().to_vector<float>(); }

// The custom op of the README: nothing of Tenon has to change for it.
Var square(const Var& x) {
  return record("square", {x}, ops::mul(x.value(), x.value()),
                [x = x.saved()](GradContext& g) { g.add(0, ops::scale(ops::mul(g.dy(), x), 2.0f)); });
}

template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no Error";
}

TEST(Graph, CustomOp) {
  Var x = leaf({1, -2, 3});
  backward(sum(square(x)));
  EXPECT_EQ(grad_of(x), (std::vector<float>{2, -4, 6}));
  const GradientCheck r =
      gradient_check([](const std::vector<Var>& in) { return square(in[0]); }, {Tensor::from<float>({1, -2, 3}, {3})});
  EXPECT_LT(r.max_error, 1e-4) << r.worst;
}

TEST(Graph, GradientCheckFindsAWrongGradient) {
  auto wrong = [](const std::vector<Var>& in) {
    return record("wrong", {in[0]}, ops::mul(in[0].value(), in[0].value()),
                  [x = in[0].saved()](GradContext& g) { g.add(0, ops::mul(g.dy(), x)); });
  };
  EXPECT_GT(gradient_check(wrong, {Tensor::from<float>({1, -2, 3}, {3})}).max_error, 0.4);
}

TEST(Graph, GradientsOfOneValueUsedOftenAreSummed) {
  Var x = leaf({1, 2});
  Var y = mul(x, x);  // inner value with three consumers
  Var z = add(add(y, y), scale(y, 3));
  backward(sum(z));  // 5 x^2
  EXPECT_EQ(grad_of(x), (std::vector<float>{10, 20}));
}

TEST(Graph, PassedThroughGradientIsNotWrittenInto) {
  Var x = leaf({1, 2});
  Var a = scale(x, 1), b = scale(x, 1);
  Var s = add(a, b);          // hands the same tensor to a and b
  Var t = add(s, square(a));  // and a gets more
  backward(sum(t));
  EXPECT_EQ(grad_of(x), (std::vector<float>{4, 6}));  // 1 + 1 + 2x
}

TEST(Graph, GradientsAddUpOverBackwardsUntilZeroed) {
  Var x = leaf({3});
  backward(sum(square(x)));
  backward(sum(square(x)), 0.5f);
  EXPECT_EQ(grad_of(x), (std::vector<float>{9}));
  x.zero_grad();
  EXPECT_EQ(grad_of(x), (std::vector<float>{0}));
}

TEST(Graph, SecondBackwardThroughAFreedGraphIsAnError) {
  Var x = leaf({3});
  Var loss = sum(square(x));
  backward(loss);
  EXPECT_NE(error_of([&] { backward(loss); }).find("freed"), std::string::npos);
}

TEST(Graph, SavedTensorChangedInPlaceIsAnError) {
  Var x = leaf({3});
  Var loss = sum(square(x));
  Tensor value = x.value();
  ops::fill(value, 1);
  const std::string message = error_of([&] { backward(loss); });
  EXPECT_NE(message.find("square"), std::string::npos) << message;
  EXPECT_NE(message.find("changed in place"), std::string::npos) << message;
}

TEST(Graph, NothingIsKeptWithoutGradients) {
  Var x = leaf({3});
  {
    NoGrad no_grad;
    EXPECT_FALSE(square(x).requires_grad());
  }
  EXPECT_TRUE(square(x).requires_grad());
  EXPECT_FALSE(square(x.detach()).requires_grad());
  EXPECT_NE(error_of([&] { backward(sum(square(x.detach()))); }).find("requires a gradient"), std::string::npos);
  EXPECT_NE(error_of([&] { backward(Var(Tensor::zeros({2}, DType::f32), true)); }).find("one number"),
            std::string::npos);
  EXPECT_NE(error_of([&] { Var(Tensor::zeros({2}, DType::i32), true); }).find("i32"), std::string::npos);
}

TEST(Graph, GradientOfTheWrongShapeNamesTheOp) {
  Var x = leaf({3, 4});
  Var y =
      record("bad", {x}, ops::scale(x.value(), 2), [](GradContext& g) { g.add(0, Tensor::zeros({3}, DType::f32)); });
  const std::string message = error_of([&] { backward(sum(y)); });
  EXPECT_NE(message.find("backward of bad"), std::string::npos) << message;
  EXPECT_NE(message.find("[3]"), std::string::npos) << message;
}

// A hundred thousand nodes: neither the backward nor freeing an unused graph may recurse.
TEST(Graph, DeepGraphs) {
  Var x = leaf({1});
  Var y = x;
  for (int i = 0; i < 100000; ++i) y = add_scalar(y, 0.0f);
  backward(sum(y));
  EXPECT_EQ(grad_of(x), (std::vector<float>{1}));
  Var unused = x;
  for (int i = 0; i < 100000; ++i) unused = add_scalar(unused, 0.0f);
}

TEST(Graph, SeveralResults) {
  Var x = leaf({1, 2, 3});
  auto halves = [&] {
    return record_many("split_in_two", {x}, {ops::scale(x.value(), 2), ops::scale(x.value(), 3)}, [](GradContext& g) {
      if (g.has_dy(0)) g.add(0, ops::scale(g.dy(0), 2));
      if (g.has_dy(1)) g.add(0, ops::scale(g.dy(1), 3));
    });
  };
  auto out = halves();
  backward(sum(add(out[0], out[1])));
  EXPECT_EQ(grad_of(x), (std::vector<float>{5, 5, 5}));
  x.zero_grad();
  backward(sum(halves()[1]));  // the other result has no gradient
  EXPECT_EQ(grad_of(x), (std::vector<float>{3, 3, 3}));
}

TEST(Graph, LeafOfBf16SumsInF32) {
  // 256 + 1 is not a bf16 number; a sum kept in bf16 would stay at 256.
  Var x(Tensor::full({1}, 1, DType::bf16), true);
  for (int i = 0; i < 257; ++i) backward(sum(scale(x, 1)));
  EXPECT_EQ(x.grad().item<float>(), 257);
}

TEST(Recompute, SameGradientsWithTheSegmentRunTwice) {
  Tensor start = Tensor::from<float>({0.5f, -1, 2}, {3});
  ParamStore store;
  Parameter& w = store.create("w", {3}, DType::f32);
  w.assign(Tensor::from<float>({1, 2, 3}, {3}));
  int runs = 0, second_runs = 0;
  auto segment = [&](const std::vector<Var>& in) {
    ++runs;
    second_runs += recomputing();
    Var h = mul(square(in[0]), w.var());
    return std::vector<Var>{h, exp(h)};
  };
  auto loss_of = [&](const Var& x, bool again) {
    auto out = again ? recompute(segment, {scale(x, 2)}) : segment({scale(x, 2)});
    return sum(add(out[0], scale(out[1], 0.01f)));
  };
  Var plain(start, true), again(start, true);
  Var a = loss_of(plain, false);
  backward(a);
  const auto w_plain = w.grad().to_vector<float>();
  store.zero_grad();
  runs = 0;
  Var b = loss_of(again, true);
  backward(b);
  EXPECT_EQ(a.value().item<float>(), b.value().item<float>());
  EXPECT_EQ(grad_of(plain), grad_of(again));
  EXPECT_EQ(w.grad().to_vector<float>(), w_plain);
  EXPECT_EQ(runs, 2);
  EXPECT_EQ(second_runs, 1);
}

TEST(Recompute, ParametersInsideLearnThoughTheInputDoesNot) {
  ParamStore store;
  Parameter& w = store.create("w", {2}, DType::f32);
  Var x(Tensor::from<float>({3, 4}, {2}));
  auto out = recompute([&](const std::vector<Var>& in) { return std::vector<Var>{mul(in[0], w.var())}; }, {x});
  backward(sum(out[0]));
  EXPECT_EQ(w.grad().to_vector<float>(), (std::vector<float>{3, 4}));
}

TEST(Recompute, NestedSegments) {
  Var x = leaf({0.5f, 1.5f});
  auto inner = [](const std::vector<Var>& in) { return std::vector<Var>{square(in[0])}; };
  auto outer = [&](const std::vector<Var>& in) { return recompute(inner, {square(in[0])}); };
  backward(sum(recompute(outer, {x})[0]));  // x^4
  EXPECT_FLOAT_EQ(grad_of(x)[0], 4 * 0.125f);
  EXPECT_FLOAT_EQ(grad_of(x)[1], 4 * 3.375f);
}

TEST(Recompute, OtherPeoplesResultsMustBeInputs) {
  Var x = leaf({1});
  Var y = square(x);
  auto out = recompute([&](const std::vector<Var>& in) { return std::vector<Var>{mul(in[0], y)}; }, {square(x)});
  const std::string message = error_of([&] { backward(sum(out[0])); });
  EXPECT_NE(message.find("not among its inputs"), std::string::npos) << message;
}

}  // namespace
}  // namespace tenon
