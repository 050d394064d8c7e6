#include "../../ops/loss_head.h"

#include <cmath>

#include "../../ops/elementwise.h"
#include "op_table.h"

namespace tenon::testing {
namespace {

// Problem {tokens, dim, vocabulary, every n-th token has a target}.
Arrays draw_head(Draw& draw, const Problem& p) {
  Array targets = draw.integers({p[0]}, p[2]);
  for (int64_t t = 0; t < p[0]; ++t)
    if (t % p[3] != 0) targets[t] = -100;
  // Logits of a few units, as a trained head has them.
  return Arrays{{"hidden", draw.normal({p[0], p[1]})},
                {"weight", draw.normal({p[2], p[1]}, 0, 2 / std::sqrt(static_cast<double>(p[1])))},
                {"targets", targets}};
}

struct Row {
  double logprob = 0, entropy = 0;
};

Row row_of(const Arrays& in, int64_t t, double temperature) {
  const Array &hidden = in["hidden"], &weight = in["weight"];
  const int64_t dim = hidden.dim(1), vocabulary = weight.dim(0), target = in["targets"].integer(t);
  if (target < 0) return {};
  std::vector<double> x(vocabulary);
  double maximum = -1e300, sum = 0, weighted = 0;
  for (int64_t v = 0; v < vocabulary; ++v) {
    for (int64_t c = 0; c < dim; ++c) x[v] += hidden[t * dim + c] * weight[v * dim + c] / temperature;
    maximum = std::max(maximum, x[v]);
  }
  for (double value : x) {
    sum += std::exp(value - maximum);
    weighted += std::exp(value - maximum) * (value - maximum);
  }
  return {x[target] - maximum - std::log(sum), std::log(sum) - weighted / sum};
}

double head_flops(const Problem& p) { return 2.0 * p[1] * p[2] * static_cast<double>((p[0] + p[3] - 1) / p[3]); }
double head_bytes(const Problem& p, double item) { return (p[0] + p[2]) * p[1] * item; }

OpCase log_probabilities() {
  constexpr float kTemperature = 0.7f;
  return {
      .name = "token_logprobs",
      .shapes = {{1, 1, 1, 1},
                 {5, 16, 82, 1},
                 {9, 8, 1500, 2},
                 {70, 24, 33, 3},
                 {3, 4, 5, 1},
                 {31, 4, 4100, 4},
                 {2, 4, 4103, 1}},
      .bench_shape = {512, 576, 49152, 1},
      .gpu_shape = {4096, 2048, 151936, 1},
      .inputs = draw_head,
      .run =
          [](const Tensors& in) {
            auto [logprob, entropy, lse] =
                ops::token_logprobs(in["hidden"], in["weight"], in["targets"], kTemperature, true);
            return Tensors{{"logprob", logprob}, {"entropy", entropy}, {"lse", lse}};
          },
      .backward =
          [](Gradients& g) {
            Tensor dhidden = g.buffer("hidden");
            ops::token_logprobs_backward(g.d("logprob"), &g.d("entropy"), g.in("hidden"), g.in("weight"),
                                         g.in("targets"), {g.out("logprob"), g.out("entropy"), g.out("lse")},
                                         kTemperature, dhidden, &g.sink("weight"));
          },
      .reference =
          [](const Arrays& in) {
            Array logprob({in.problem[0]}, Kind::f32), entropy = logprob;
            for (int64_t t = 0; t < in.problem[0]; ++t) {
              const Row row = row_of(in, t, static_cast<double>(kTemperature));
              logprob[t] = row.logprob, entropy[t] = row.entropy;
            }
            return Arrays{{"logprob", logprob}, {"entropy", entropy}};
          },
      .differentiable = {"logprob", "entropy"},
      // f32: products of some dozen terms, then exp at 2e-7. bf16: logits are f32, so that the values keep f32's error
      // where the processor multiplies bf16 exactly; gradients of the logits are rounded to bf16 (2^-9) before their
      // products.
      .tolerance = {{DType::f32, 3e-6, 2e-5}, {DType::bf16, 1e-5, 1.5e-2}},
      .small = 0.5,
      .bytes = head_bytes,
      .flops = head_flops,
      .backward_bytes = [](const Problem& p, double item) { return 2 * head_bytes(p, item) + 8.0 * p[1] * p[2]; },
      .backward_flops = [](const Problem& p) { return 3 * head_flops(p); },
  };
}

// The mean over the targets of -logprob, value and gradient in one call.
OpCase one_pass() {
  OpCase op = log_probabilities();
  op.name = "token_loss_one_pass";
  op.run = [](const Tensors& in) {
    const Tensor &hidden = in["hidden"], &weight = in["weight"];
    Tensor dhidden = Tensor::like(hidden), dweight = Tensor::zeros(weight.shape(), DType::f32, weight.device());
    const std::vector<int32_t> targets = in["targets"].to_vector<int32_t>();
    int64_t count = 0;
    for (int32_t target : targets) count += target >= 0;
    const double loss = ops::token_loss_one_pass(
        hidden, weight, in["targets"], 1.0f, false,
        [&](int64_t begin, int64_t end, const float* logprob, const float*, float* dlogprob) {
          double sum = 0;
          for (int64_t i = 0; i < end - begin; ++i) {
            sum -= logprob[i] / count;
            dlogprob[i] = -1.0f / count;
          }
          return sum;
        },
        nullptr, nullptr, &dhidden, &dweight);
    return Tensors{{"loss", Tensor::full({}, static_cast<float>(loss), DType::f32, hidden.device())},
                   {"dhidden", dhidden},
                   {"dweight", dweight}};
  };
  op.backward = [](Gradients& g) {
    // The incoming gradient is a number; the one-pass form has computed the gradient for 1.
    g.give("hidden", ops::mul(g.out("dhidden"), g.d("loss")));
    g.give("weight", ops::mul(g.out("dweight"), g.d("loss")));
  };
  op.reference = [](const Arrays& in) {
    Array loss(Shape{}, Kind::f32);
    double count = 0;
    for (int64_t t = 0; t < in.problem[0]; ++t) count += in["targets"].integer(t) >= 0;
    for (int64_t t = 0; t < in.problem[0]; ++t) loss[0] -= row_of(in, t, 1.0).logprob / count;
    return Arrays{{"loss", loss}};
  };
  op.differentiable = {"loss"};
  op.flops = [](const Problem& p) { return 3 * head_flops(p); };
  op.bytes = [](const Problem& p, double item) { return 2 * head_bytes(p, item) + 8.0 * p[1] * p[2]; };
  op.backward_bytes = {};
  op.backward_flops = {};
  return op;
}

OpCase cross_entropy() {
  OpCase op = one_pass();
  op.name = "cross_entropy_one_pass";
  op.run = [](const Tensors& in) {
    const Tensor &hidden = in["hidden"], &weight = in["weight"], &targets = in["targets"];
    Tensor dhidden = Tensor::like(hidden), dweight = Tensor::zeros(weight.shape(), DType::f32, weight.device());
    Tensor loss = ops::cross_entropy_one_pass(hidden, weight, targets, ops::mean_token_weight(targets), nullptr,
                                              &dhidden, &dweight);
    return Tensors{{"loss", loss}, {"dhidden", dhidden}, {"dweight", dweight}};
  };
  return op;
}

}  // namespace

std::vector<OpCase> loss_head_cases() { return {log_probabilities(), one_pass(), cross_entropy()}; }

}  // namespace tenon::testing
