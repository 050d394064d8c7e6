#include "../../ops/distill_head.h"

#include <algorithm>
#include <cmath>
#include <functional>

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

// KL(t || s), KL(s || t) or the mixture, from log-probabilities.
double divergence_of(const std::vector<double>& s, const std::vector<double>& t, double beta) {
  double out = 0;
  for (size_t v = 0; v < s.size(); ++v) {
    const double log_m = std::log(beta * std::exp(t[v]) + (1 - beta) * std::exp(s[v]));
    if (beta == 0)
      out += std::exp(t[v]) * (t[v] - s[v]);
    else if (beta == 1)
      out += std::exp(s[v]) * (s[v] - t[v]);
    else
      out += beta * std::exp(t[v]) * (t[v] - log_m) + (1 - beta) * std::exp(s[v]) * (s[v] - log_m);
  }
  return out;
}

// [tokens]
Array divergence(const Arrays& in, double beta) {
  const Array& x = in["hidden"];
  Array out(Shape{x.dim(0)}, Kind::f32);
  for (int64_t r = 0; r < x.dim(0); ++r)
    out[r] = divergence_of(log_softmax_of_product(x, in["weight"], r),
                           log_softmax_of_product(in["teacher_hidden"], in["teacher_weight"], r), beta);
  return out;
}

// Moves the probabilities of all tokens that are not in `top` into one outcome, the last.
std::vector<double> merged(const std::vector<double>& log_p, std::span<const double> top) {
  std::vector<double> out;
  std::vector<bool> is_top(log_p.size(), false);
  for (double id : top) {
    out.push_back(log_p[static_cast<size_t>(id)]);
    is_top[static_cast<size_t>(id)] = true;
  }
  double rest = 0;
  for (size_t v = 0; v < log_p.size(); ++v) rest += is_top[v] ? 0 : std::exp(log_p[v]);
  out.push_back(std::log(rest));
  return out;
}

// Problem {tokens, vocabulary, dim, teacher's dim}.
OpCase with_beta(const char* name, float beta) {
  return {
      .name = name,
      .shapes = {{1, 2, 1, 1}, {3, 33, 8, 5}, {70, 600, 16, 24}, {3, 4100, 4, 3}, {2, 2053, 3, 4}},
      .bench_shape = {512, 8192, 512, 1024},
      .gpu_shape = {2048, 32768, 1024, 2048},
      .inputs =
          [](Draw& draw, const Problem& p) {
            return Arrays{{"hidden", draw.normal({p[0], p[2]})},
                          {"weight", draw.normal({p[1], p[2]}, 0, 1 / std::sqrt(static_cast<double>(p[2])))},
                          {"teacher_hidden", draw.normal({p[0], p[3]})},
                          {"teacher_weight", draw.normal({p[1], p[3]}, 0, 1 / std::sqrt(static_cast<double>(p[3])))}};
          },
      .run =
          [beta](const Tensors& in) {
            Tensor out = Tensor::empty({in["hidden"].dim(0)}, DType::f32, in["hidden"].device());
            ops::distill_loss_one_pass(in["hidden"], in["weight"], in["teacher_hidden"], in["teacher_weight"],
                                       Tensor::full(out.shape(), 1, DType::f32, out.device()),
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

// Problem {tokens, vocabulary, dim, k}; k below the vocabulary.
OpCase top_k_with_beta(const char* name, float beta) {
  const auto teacher = [](const auto& in) { return ops::TopLogProbs{in("ids"), in("logprob"), in("tail")}; };
  return {
      .name = name,
      .shapes = {{1, 2, 1, 1}, {3, 33, 8, 5}, {70, 600, 16, 130}, {5, 1100, 4, 1}, {3, 4100, 4, 600}, {2, 2053, 3, 31}},
      .bench_shape = {512, 8192, 512, 64},
      .gpu_shape = {2048, 32768, 1024, 64},
      .inputs =
          [](Draw& draw, const Problem& p) {
            Array ids = draw.distinct({p[0], p[3]}, p[1]);
            Array raw = draw.normal({p[0], p[3] + 1});
            Array logprob({p[0], p[3]}, Kind::f32), tail(Shape{p[0]}, Kind::f32);
            for (int64_t r = 0; r < p[0]; ++r) {
              double sum = 0;
              for (double x : raw.row(r)) sum += std::exp(x);
              for (int64_t i = 0; i < p[3]; ++i) logprob.row(r)[i] = raw.row(r)[i] - std::log(sum);
              tail[r] = raw.row(r)[p[3]] - std::log(sum);
            }
            return Arrays{{"hidden", draw.normal({p[0], p[2]})},
                          {"weight", draw.normal({p[1], p[2]}, 0, 1 / std::sqrt(static_cast<double>(p[2])))},
                          {"ids", std::move(ids)},
                          {"logprob", std::move(logprob)},
                          {"tail", std::move(tail)}};
          },
      .run =
          [=](const Tensors& in) {
            Tensor out = Tensor::empty({in["hidden"].dim(0)}, DType::f32, in["hidden"].device());
            ops::top_k_distill_loss_one_pass(in["hidden"], in["weight"], teacher([&](const char* n) { return in[n]; }),
                                             Tensor::full(out.shape(), 1, DType::f32, out.device()),
                                             {.beta = beta, .temperature = kTemperature}, &out, nullptr, nullptr);
            return Tensors{{"divergence", out}};
          },
      .backward =
          [=](Gradients& g) {
            ops::top_k_distill_loss_one_pass(
                g.in("hidden"), g.in("weight"), teacher([&](const char* n) { return g.in(n); }), g.d("divergence"),
                {.beta = beta, .temperature = kTemperature}, nullptr, &g.buffer("hidden"), &g.sink("weight"));
          },
      .reference =
          [beta](const Arrays& in) {
            Array out(Shape{in["hidden"].dim(0)}, Kind::f32);
            for (int64_t r = 0; r < out.numel(); ++r) {
              const auto p = in["logprob"].row(r);
              std::vector<double> t(p.begin(), p.end());
              t.push_back(in["tail"][r]);
              out[r] = divergence_of(merged(log_softmax_of_product(in["hidden"], in["weight"], r), in["ids"].row(r)), t,
                                     beta);
            }
            return Arrays{{"divergence", std::move(out)}};
          },
      .tolerance = {{DType::f32, 2e-5, 2e-5}, {DType::bf16, 2e-5, 1e-2}},  // as above
      .small = 0.1,
      .bytes = [](const Problem& p, double item) { return (p[0] + p[1]) * p[2] * item + 8.0 * p[0] * p[3]; },
      .flops = [](const Problem& p) { return 2.0 * p[0] * p[1] * p[2]; },
      .backward_bytes = [](const Problem& p,
                           double item) { return (p[0] + p[1]) * p[2] * item + 8.0 * p[0] * p[3] + 8.0 * p[1] * p[2]; },
      .backward_flops = [](const Problem& p) { return 6.0 * p[0] * p[1] * p[2]; },
  };
}

// Problem {tokens, vocabulary, dim, k}.
OpCase top_logprobs_case() {
  return {
      .name = "top_logprobs",
      .shapes = {{1, 2, 1, 1}, {3, 33, 8, 5}, {70, 600, 16, 130}, {5, 1100, 4, 1}, {3, 4100, 4, 600}, {2, 2053, 3, 31}},
      .bench_shape = {512, 8192, 512, 64},
      .gpu_shape = {2048, 32768, 1024, 64},
      .inputs =
          [](Draw& draw, const Problem& p) {
            return Arrays{{"hidden", draw.normal({p[0], p[2]})},
                          {"weight", draw.normal({p[1], p[2]}, 0, 1 / std::sqrt(static_cast<double>(p[2])))}};
          },
      .run =
          [](const Tensors& in) {
            const auto top = ops::top_logprobs(in["hidden"], in["weight"], in.problem[3], kTemperature);
            return Tensors{{"logprob", top.logprob}, {"tail", top.tail}};
          },
      .reference =
          [](const Arrays& in) {
            const int64_t tokens = in["hidden"].dim(0), k = in.problem[3];
            Array logprob({tokens, k}, Kind::f32), tail(Shape{tokens}, Kind::f32);
            for (int64_t r = 0; r < tokens; ++r) {
              auto p = log_softmax_of_product(in["hidden"], in["weight"], r);
              std::sort(p.begin(), p.end(), std::greater<>());
              double rest = 0;
              for (size_t v = static_cast<size_t>(k); v < p.size(); ++v) rest += std::exp(p[v]);
              std::copy_n(p.begin(), k, logprob.row(r).begin());
              tail[r] = std::log(rest);
            }
            return Arrays{{"logprob", std::move(logprob)}, {"tail", std::move(tail)}};
          },
      .tolerance = {{DType::f32, 5e-6, 0}, {DType::bf16, 5e-6, 0}},  // f32 sums of products of exact inputs
      .small = 0.1,
      .bytes = [](const Problem& p, double item) { return (p[0] + p[1]) * p[2] * item + 8.0 * p[0] * p[3]; },
      .flops = [](const Problem& p) { return 2.0 * p[0] * p[1] * p[2]; },
  };
}

}  // namespace

std::vector<OpCase> distill_head_cases() {
  return {with_beta("distill_forward_kl", 0),
          with_beta("distill_reverse_kl", 1),
          with_beta("distill_jsd", 0.3f),
          top_k_with_beta("distill_top_k_forward_kl", 0),
          top_k_with_beta("distill_top_k_reverse_kl", 1),
          top_k_with_beta("distill_top_k_jsd", 0.3f),
          top_logprobs_case()};
}

}  // namespace tenon::testing
