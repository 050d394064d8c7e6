#include "../../ops/distill_head.h"

#include <cmath>

#include "op_table.h"

namespace tenon::testing {
namespace {

constexpr double kTemperature = 0.9;

std::vector<double> log_softmax_of_product(const Array& hidden, const Array& weight, int64_t r) {
  std::vector<double> z(static_cast<size_t>(weight.dim(0)));
  double sum = 0;
  for (int64_t v = 0; v < weight.dim(0); ++v) {
    for (int64_t c = 0; c < weight.dim(1); ++c) z[v] += hidden.row(r)[c] * weight.row(v)[c] / kTemperature;
  }
  for (double x : z) sum += std::exp(x);
  for (double& x : z) x -= std::log(sum);
  return z;
}

// [tokens], of KL(t || s), KL(s || t) or the mixture.
Array divergence(const Arrays& in, double beta) {
  const Array& x = in["hidden"];
  Array out(Shape{x.dim(0)}, Kind::f32);
  for (int64_t r = 0; r < x.dim(0); ++r) {
    const auto s = log_softmax_of_product(x, in["weight"], r),
               t = log_softmax_of_product(in["teacher_hidden"], in["teacher_weight"], r);
    for (size_t v = 0; v < s.size(); ++v) {
      const double log_m = std::log(beta * std::exp(t[v]) + (1 - beta) * std::exp(s[v]));
      if (beta == 0)
        out[r] += std::exp(t[v]) * (t[v] - s[v]);
      else if (beta == 1)
        out[r] += std::exp(s[v]) * (s[v] - t[v]);
      else
        out[r] += beta * std::exp(t[v]) * (t[v] - log_m) + (1 - beta) * std::exp(s[v]) * (s[v] - log_m);
    }
  }
  return out;
}

// Problem {tokens, vocabulary, dim, teacher's dim}.
OpCase with_beta(const char* name, float beta) {
  return {
      .name = name,
      .shapes = {{1, 2, 1, 1}, {3, 33, 8, 5}, {70, 600, 16, 24}},
      .bench_shape = {512, 8192, 512, 1024},
      .inputs =
          [](Draw& draw, const Problem& p) {
            return Arrays{{"hidden", draw.normal({p[0], p[2]})},
                          {"weight", draw.normal({p[1], p[2]}, 0, 1 / std::sqrt(static_cast<double>(p[2])))},
                          {"teacher_hidden", draw.normal({p[0], p[3]})},
                          {"teacher_weight", draw.normal({p[1], p[3]}, 0, 1 / std::sqrt(static_cast<double>(p[3])))}};
          },
      .run =
          [beta](const Tensors& in) {
            Tensor out = Tensor::empty({in["hidden"].dim(0)}, DType::f32);
            ops::distill_loss_one_pass(in["hidden"], in["weight"], in["teacher_hidden"], in["teacher_weight"],
                                       Tensor::full(out.shape(), 1, DType::f32),
                                       {.beta = beta, .temperature = kTemperature}, &out, nullptr, nullptr);
            return Tensors{{"divergence", out}};
          },
      .backward =
          [beta](Gradients& g) {
            ops::distill_loss_one_pass(g.in("hidden"), g.in("weight"), g.in("teacher_hidden"), g.in("teacher_weight"),
                                       g.d("divergence"), {.beta = beta, .temperature = kTemperature}, nullptr,
                                       &g.buffer("hidden"), &g.sink("weight"));
          },
      .reference =
          [beta](const Arrays& in) {
            return Arrays{{"divergence", divergence(in, beta)}};
          },
      // f32: probabilities to a few 1e-7, differences of logarithms that cancel to a tenth of themselves. bf16: logits
      // are f32 products of exact inputs, their gradient is rounded to bf16 before the products that follow.
      .tolerance = {{DType::f32, 2e-5, 2e-5}, {DType::bf16, 2e-5, 1e-2}},
      .small = 0.1,
      .bytes = [](const Problem& p, double item) { return (p[0] + p[1]) * (p[2] + p[3]) * item; },
      .flops = [](const Problem& p) { return 2.0 * p[0] * p[1] * (p[2] + p[3]); },
      .backward_bytes = [](const Problem& p,
                           double item) { return (p[0] + p[1]) * (p[2] + p[3]) * item + 8.0 * p[1] * p[2]; },
      .backward_flops = [](const Problem& p) { return 2.0 * p[0] * p[1] * (3 * p[2] + p[3]); },
  };
}

}  // namespace

std::vector<OpCase> distill_head_cases() {
  return {with_beta("distill_forward_kl", 0), with_beta("distill_reverse_kl", 1), with_beta("distill_jsd", 0.3f)};
}

}  // namespace tenon::testing
