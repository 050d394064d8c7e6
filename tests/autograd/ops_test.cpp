// Every differentiable op against differences of its own values. The kernels' gradients are compared with double
// references in the op table; here it is the wiring: which gradient goes to which input, views, broadcasting, buffers
// that are added to.
#include <gtest/gtest.h>

#include "../../autograd/autograd.h"
#include "../../ops/cast.h"
#include "../../ops/elementwise.h"
#include "../../runtime/error.h"
#include "../../runtime/random.h"

namespace tenon {
namespace {

// The rounding of f32 in differences with a step of 1e-2 is 1e-7 / 1e-2, times a few for sums over elements.
constexpr double kTolerance = 1e-3;

Tensor normal(const Shape& shape, uint64_t stream = 0, float mean = 0, float std = 1) {
  Tensor t = Tensor::empty(shape, DType::f32);
  for (int64_t i = 0; i < t.numel(); ++i)
    t.data<float>()[i] = mean + std * random_normal({11, stream}, static_cast<uint64_t>(i));
  return t;
}

Tensor positive(const Shape& shape, uint64_t stream = 0) {
  Tensor t = Tensor::empty(shape, DType::f32);
  for (int64_t i = 0; i < t.numel(); ++i)
    t.data<float>()[i] = 0.5f + random_uniform({12, stream}, static_cast<uint64_t>(i));
  return t;
}

Tensor ids(std::vector<int32_t> v) { return Tensor::from_vector(v); }

using Function = std::function<Var(const std::vector<Var>&)>;
void expect_gradients(const Function& f, std::vector<Tensor> inputs, double tolerance = kTolerance) {
  const GradientCheck r = gradient_check(f, std::move(inputs));
  EXPECT_LT(r.max_error, tolerance) << r.worst;
}

TEST(Ops, BroadcastingArithmetic) {
  for (auto f : {add, sub, mul}) {
    expect_gradients([f](auto& in) { return f(in[0], in[1]); }, {normal({3, 4}), normal({3, 4}, 1)});
    expect_gradients([f](auto& in) { return f(in[0], in[1]); }, {normal({2, 3, 4}), normal({4}, 1)});
    expect_gradients([f](auto& in) { return f(in[0], in[1]); }, {normal({3, 1}), normal({1, 4}, 1)});
  }
  expect_gradients([](auto& in) { return div(in[0], in[1]); }, {normal({3, 4}), positive({4}, 1)});
}

TEST(Ops, Extrema) {
  // Steps of 1e-2 must not cross the kink: values are at least 0.1 apart.
  Tensor a = Tensor::from<float>({1, -2, 3, 0.5f}, {4}), b = Tensor::from<float>({0.5f, -1, 3.5f, -1}, {4});
  expect_gradients([](auto& in) { return maximum(in[0], in[1]); }, {a, b});
  expect_gradients([](auto& in) { return minimum(in[0], in[1]); }, {a, b});
  expect_gradients([](auto& in) { return clamp(in[0], -1.5f, 0.8f); }, {a});
  Var x(Tensor::from<float>({2}, {1}), true), y(Tensor::from<float>({2}, {1}), true);
  backward(sum(maximum(x, y)));  // equal: half each, as PyTorch
  EXPECT_EQ(x.grad().item<float>(), 0.5f);
  EXPECT_EQ(y.grad().item<float>(), 0.5f);
  x.zero_grad();
  backward(sum(clamp(x, 0, 2)));  // the bounds themselves pass the gradient
  EXPECT_EQ(x.grad().item<float>(), 1);
}

TEST(Ops, Functions) {
  expect_gradients([](auto& in) { return exp(in[0]); }, {normal({5})});
  expect_gradients([](auto& in) { return log(in[0]); }, {positive({5})});
  expect_gradients([](auto& in) { return sqrt(in[0]); }, {positive({5})});
  expect_gradients([](auto& in) { return neg(add_scalar(scale(in[0], 3), 2)); }, {normal({5})});
}

TEST(Ops, Reductions) {
  for (int dim : {0, 1, -1}) {
    expect_gradients([dim](auto& in) { return sum(in[0], dim); }, {normal({2, 3, 4})});
    expect_gradients([dim](auto& in) { return mean(in[0], dim, true); }, {normal({2, 3, 4})});
  }
  expect_gradients([](auto& in) { return sum(in[0]); }, {normal({2, 3})});
  expect_gradients([](auto& in) { return mean(in[0]); }, {normal({2, 3})});
}

TEST(Ops, Matmul) {
  for (bool ta : {false, true})
    for (bool tb : {false, true})
      expect_gradients([ta, tb](auto& in) { return matmul(in[0], in[1], ta, tb); },
                       {normal(ta ? Shape{2, 4, 3} : Shape{2, 3, 4}), normal(tb ? Shape{2, 5, 4} : Shape{2, 4, 5}, 1)});
  expect_gradients([](auto& in) { return matmul(in[0], in[1]); }, {normal({2, 3, 4}), normal({4, 5}, 1)});
  // A value used twice: the second product adds to the first one's gradient.
  expect_gradients(
      [](auto& in) {
        Var x = scale(in[0], 1);
        return add(matmul(x, in[1]), matmul(x, in[1]));
      },
      {normal({3, 4}), normal({4, 5}, 1)});
}

TEST(Ops, Linear) {
  expect_gradients([](auto& in) { return linear(in[0], in[1], &in[2]); },
                   {normal({2, 3, 4}), normal({5, 4}, 1), normal({5}, 2)});
  expect_gradients(
      [](auto& in) {
        Var x = scale(in[0], 2);
        return add(linear(x, in[1]), linear(x, in[1]));
      },
      {normal({3, 4}), normal({5, 4}, 1)});
  // A weight that is the result of another op (an adapter): its gradient goes on.
  expect_gradients([](auto& in) { return linear(in[0], add(in[1], matmul(in[2], in[3]))); },
                   {normal({3, 4}), normal({5, 4}, 1), normal({5, 2}, 2), normal({2, 4}, 3)});
}

TEST(Ops, ViewsSlicesConcatenation) {
  expect_gradients([](auto& in) { return reshape(in[0], {3, -1}); }, {normal({2, 6})});
  expect_gradients([](auto& in) { return mul(slice(in[0], 1, 1, 3), slice(in[0], 1, 2, 4)); }, {normal({3, 4})});
  expect_gradients(
      [](auto& in) {
        Var x = scale(in[0], 2);
        return mul(slice(x, 0, 0, 2), slice(x, 0, 1, 3));
      },
      {normal({3, 4})});
  expect_gradients(
      [](auto& in) {
        const int64_t sizes[] = {1, 3, 2};
        auto parts = split(scale(in[0], 2), 1, sizes);
        return concat({mul(parts[1], parts[1]), parts[0], exp(parts[1])}, 1);  // the third part has no gradient
      },
      {normal({2, 6})});
  expect_gradients([](auto& in) { return concat({in[0], in[1], in[0]}, 0); }, {normal({2, 3}), normal({1, 3}, 1)});
  EXPECT_THROW(split(Var(normal({2, 6})), 1, std::vector<int64_t>{1, 2}), Error);
}

TEST(Ops, GatherAndEmbedding) {
  expect_gradients([](auto& in) { return gather_rows(in[0], ids({2, 0, 2})); }, {normal({3, 4})});
  expect_gradients(
      [](auto& in) {
        Var x = scale(in[0], 2);
        return mul(gather_rows(x, ids({2, 0, 2})), x);
      },
      {normal({3, 4})});
  expect_gradients([](auto& in) { return embedding(in[0], ids({1, 1, 0})); }, {normal({4, 3})});
}

TEST(Ops, CastConvertsTheGradientBack) {
  Var x(normal({8}), true);
  Var y = cast(x, DType::bf16);
  EXPECT_EQ(y.dtype(), DType::bf16);
  backward(sum(mul(y, y)));
  const Tensor rounded = ops::cast(y.value(), DType::f32);
  for (int64_t i = 0; i < 8; ++i)  // 2x, rounded to bf16 twice on its way
    EXPECT_NEAR(x.grad().data<float>()[i], 2 * rounded.data<float>()[i],
                0.02 * std::abs(rounded.data<float>()[i]) + 1e-6);
}

TEST(Ops, Activations) {
  for (Activation kind : {Activation::silu, Activation::gelu, Activation::gelu_tanh, Activation::sigmoid,
                          Activation::softplus, Activation::tanh})
    expect_gradients([kind](auto& in) { return activation(kind, in[0]); }, {normal({3, 5})});
  expect_gradients([](auto& in) { return swiglu(in[0], in[1]); }, {normal({3, 5}), normal({3, 5}, 1)});
  expect_gradients([](auto& in) { return softmax(in[0]); }, {normal({3, 5})});
  expect_gradients([](auto& in) { return log_softmax(in[0]); }, {normal({3, 5})});
}

TEST(Ops, Norms) {
  expect_gradients([](auto& in) { return rms_norm(in[0], in[1], 1e-5f); }, {normal({3, 6}), positive({6}, 1)});
  auto residual = [](bool y, bool sum) {
    return [y, sum](const std::vector<Var>& in) {
      auto out = rms_norm_residual(in[0], in[1], in[2], 1e-5f);
      return y && sum ? add(out.y, scale(out.sum, 0.3f)) : y ? out.y : out.sum;
    };
  };
  for (auto [y, sum] : {std::pair{true, true}, {true, false}, {false, true}})
    expect_gradients(residual(y, sum), {normal({3, 6}), normal({3, 6}, 1), positive({6}, 2)});
}

TEST(Ops, RopeAndAttention) {
  const ops::RopeTable table = ops::rope_table(std::vector<double>{1.0, 0.1}, 16);
  for (bool interleaved : {false, true})
    expect_gradients([&](auto& in) { return rope(in[0], table, ids({0, 3, 1}), interleaved); }, {normal({3, 2, 6})});
  // Two packed sequences, two query heads sharing one key head.
  expect_gradients(
      [](auto& in) {
        return attention(in[0], in[1], in[2], ids({0, 3, 5}), {.scale = 0.5f});
      },
      {normal({5, 2, 4}), normal({5, 1, 4}, 1), normal({5, 1, 4}, 2)});
}

TEST(Ops, MixtureOfExperts) {
  // The logits are far enough apart that a step of the differences changes no choice.
  Tensor logits = Tensor::from<float>({2, 0.5f, -1, 1, -2, 0, 1.5f, 3, 0.2f, 1, -0.5f, 2}, {3, 4});
  ops::RoutingOptions softmax2{.top_k = 2};
  ops::RoutingOptions sigmoid2{.top_k = 2, .score = ops::RouterScore::sigmoid, .scale = 2.5f};
  for (const auto& options : {softmax2, sigmoid2})
    expect_gradients([&](auto& in) { return route(in[0], nullptr, options).weights; }, {logits});
  const Tensor experts = route(Var(logits), nullptr, softmax2).experts;
  expect_gradients([&](auto& in) { return load_balancing_loss(in[0], experts, 4); }, {logits});
  expect_gradients([](auto& in) { return router_z_loss(in[0]); }, {logits});
  const Tensor starts = Tensor::from_vector(std::vector<int32_t>{0, 1, 3});
  for (auto score : {ops::RouterScore::softmax, ops::RouterScore::sigmoid})
    expect_gradients([&](auto& in) { return sequence_balance_loss(in[0], experts, starts, score); }, {logits});
  const ops::ExpertPlan plan = ops::plan_experts(experts, 4);
  expect_gradients([&](auto& in) { return permute(in[0], plan); }, {normal({3, 5})});
  expect_gradients(
      [&](auto& in) {
        Var rows = permute(in[0], plan);
        Var hidden = swiglu(grouped_linear(rows, in[1], plan), grouped_linear(rows, in[2], plan));
        return unpermute(grouped_linear(hidden, in[3], plan), route(in[4], nullptr, softmax2, &experts).weights, plan);
      },
      {normal({3, 5}), normal({4, 6, 5}, 1, 0, 0.5f), normal({4, 6, 5}, 2, 0, 0.5f), normal({4, 5, 6}, 3, 0, 0.5f),
       logits});
}

TEST(Ops, Head) {
  const Tensor targets = ids({1, 6, 0, 3});
  const std::vector<Tensor> inputs = {normal({4, 5}), normal({7, 5}, 1)};
  for (float temperature : {1.0f, 0.7f}) {
    expect_gradients([&](auto& in) { return token_logprobs(in[0], in[1], targets, temperature).logprob; }, inputs);
    expect_gradients(
        [&](auto& in) {
          auto out = token_logprobs(in[0], in[1], targets, temperature, true);
          return add(out.logprob, scale(out.entropy, 0.5f));
        },
        inputs);
    auto squares = [](int64_t begin, int64_t end, const float* logprob, const float*, float* dlogprob) {
      double loss = 0;
      for (int64_t t = 0; t < end - begin; ++t) {
        loss += logprob[t] * logprob[t];
        dlogprob[t] = 2 * logprob[t];
      }
      return loss;
    };
    expect_gradients(
        [&](auto& in) { return scale(token_loss(in[0], in[1], targets, temperature, false, squares).loss, 0.3f); },
        inputs);
  }
}

TEST(Ops, DistillLoss) {
  const Tensor teacher_hidden = normal({4, 3}, 5), weight = Tensor::from<float>({1, 0.5f, 0, 2}, {4});
  const Var teacher_weight(normal({7, 3}, 6));
  for (float beta : {0.0f, 0.4f, 1.0f})
    expect_gradients(
        [&](auto& in) {
          return scale(
              distill_loss(in[0], in[1], teacher_hidden, teacher_weight, weight, {.beta = beta, .temperature = 0.8f}),
              0.5f);
        },
        {normal({4, 5}), normal({7, 5}, 1)});
}

TEST(Ops, TopKDistillLoss) {
  const ops::TopLogProbs teacher = ops::top_logprobs(normal({4, 3}, 5), normal({7, 3}, 6), 2, 0.8f);
  const Tensor weight = Tensor::from<float>({1, 0.5f, 0, 2}, {4});
  for (float beta : {0.0f, 0.4f, 1.0f})
    expect_gradients(
        [&](auto& in) {
          return scale(top_k_distill_loss(in[0], in[1], teacher, weight, {.beta = beta, .temperature = 0.8f}), 0.5f);
        },
        {normal({4, 5}), normal({7, 5}, 1)});
}

TEST(Ops, CrossEntropy) {
  const std::vector<Tensor> inputs = {normal({4, 5}), normal({7, 5}, 1)};
  expect_gradients([&](auto& in) { return cross_entropy(in[0], in[1], ids({1, -100, 0, 3})); }, inputs);
  const Tensor weight = Tensor::from<float>({1, 2, 0.5f, 0}, {4});
  expect_gradients([&](auto& in) { return cross_entropy(in[0], in[1], ids({1, -100, 0, 3}), &weight); }, inputs);
  // The same from its definition.
  Var logits = linear(Var(inputs[0]), Var(inputs[1]));
  const Tensor log_p = log_softmax(logits).value();
  const float* p = log_p.data<float>();
  const float expected = -(p[1] + p[2 * 7 + 0] + p[3 * 7 + 3]) / 3;
  EXPECT_NEAR(cross_entropy(Var(inputs[0]), Var(inputs[1]), ids({1, -100, 0, 3})).value().item<float>(), expected,
              1e-5);
  EXPECT_THROW(cross_entropy(Var(inputs[0]), Var(inputs[1]), ids({-100, -100, -100, -100})), Error);
  EXPECT_THROW(cross_entropy(Var(inputs[0]), Var(inputs[1]), ids({1})), Error);
}

}  // namespace
}  // namespace tenon
