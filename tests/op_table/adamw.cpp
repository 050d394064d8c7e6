#include "../../ops/adamw.h"

#include <cmath>

#include "op_table.h"

namespace tenon::testing {
namespace {

// The op's constants are f32: the reference uses the same numbers.
constexpr float kRate = 1e-2f, kBeta1 = 0.9f, kBeta2 = 0.999f, kEps = 1e-8f, kDecay = 0.1f, kNorm = 5, kMaxNorm = 2;
constexpr int64_t kStep = 3;

double elements(const Problem& p) { return static_cast<double>(p[0]) * static_cast<double>(p[1]); }

// Problem {tensors, elements of each}: the third step. Parameters are f32 always; bf16 adds the copy that is rounded
// from them.
OpCase adamw() {
  return {
      .name = "adamw",
      .shapes = {{1, 1}, {3, 31}, {2, 40000}},
      .bench_shape = {48, 1024 * 1024},
      .inputs =
          [](Draw& draw, const Problem& p) {
            const Shape s{p[0], p[1]};
            return Arrays{{"p", as_f32(draw.normal(s))},
                          {"g", as_f32(draw.normal(s))},
                          {"m", as_f32(draw.normal(s, 0, 0.1))},
                          {"v", as_f32(draw.uniform(s, 0.01, 1))},
                          {"value", draw.normal(s)}};
          },
      .run =
          [](const Tensors& in) {
            std::vector<ops::AdamWTensor> tensors;
            const bool has_value = in["value"].dtype() == DType::bf16;
            for (int64_t i = 0; i < in.problem[0]; ++i)
              tensors.push_back({.master = in["p"].select(0, i),
                                 .grad = in["g"].select(0, i),
                                 .exp_avg = in["m"].select(0, i),
                                 .exp_avg_sq = in["v"].select(0, i),
                                 .value = has_value ? in["value"].select(0, i) : Tensor(),
                                 .weight_decay = kDecay});
            const Tensor updates = Tensor::full({1}, kStep - 1, DType::i64, in["p"].device());
            ops::adamw_step(tensors, {.learning_rate = kRate,
                                      .beta1 = kBeta1,
                                      .beta2 = kBeta2,
                                      .eps = kEps,
                                      .step = updates,
                                      .grad_norm = Tensor::full({}, kNorm, DType::f32, in["p"].device()),
                                      .max_grad_norm = kMaxNorm});
            return Tensors{{"p", in["p"]},
                           {"m", in["m"]},
                           {"v", in["v"]},
                           {"value", has_value ? in["value"] : in["p"]},
                           {"updates", updates}};
          },
      .reference =
          [](const Arrays& in) {
            const double rate = kRate, beta1 = kBeta1, beta2 = kBeta2, decay = kDecay;
            const double clip = kMaxNorm / (kNorm + 1e-6);
            Array p = in["p"], m = in["m"], v = in["v"];
            for (int64_t i = 0; i < p.numel(); ++i) {
              const double g = clip * in["g"][i];
              m[i] = beta1 * m[i] + (1 - beta1) * g;
              v[i] = beta2 * v[i] + (1 - beta2) * g * g;
              p[i] = p[i] * (1 - rate * decay) - rate * (m[i] / (1 - std::pow(beta1, kStep))) /
                                                     (std::sqrt(v[i] / (1 - std::pow(beta2, kStep))) + kEps);
            }
            return Arrays{{"p", p}, {"m", m}, {"v", v}, {"value", p}, {"updates", Array({1}, {kStep})}};
          },
      // A few f32 roundings; bf16 rounds the copy.
      .tolerance = {{DType::f32, 2e-7, 0}, {DType::bf16, 4e-3, 0}},
      .bytes = [](const Problem& p, double item) { return elements(p) * (item == 2 ? 30 : 28); },
      .flops = [](const Problem& p) { return 14 * elements(p); },
  };
}

// Problem {tensors, elements of each}.
OpCase global_norm() {
  return {
      .name = "global_norm",
      .shapes = {{1, 1}, {3, 31}, {2, 40000}},
      .bench_shape = {48, 1024 * 1024},
      .inputs =
          [](Draw& draw, const Problem& p) {
            return Arrays{{"g", draw.normal({p[0], p[1]})}};
          },
      .run =
          [](const Tensors& in) {
            std::vector<Tensor> tensors;
            for (int64_t i = 0; i < in.problem[0]; ++i) tensors.push_back(in["g"].select(0, i));
            return Tensors{{"norm", ops::global_norm(tensors)}};
          },
      .reference =
          [](const Arrays& in) {
            Array norm(Shape{}, Kind::f32);
            for (double g : in["g"].values) norm[0] += g * g;
            norm[0] = std::sqrt(norm[0]);
            return Arrays{{"norm", norm}};
          },
      .tolerance = {{DType::f32, 6e-8, 0}},  // summed in double, one rounding to f32
      .bytes = [](const Problem& p, double item) { return elements(p) * item; },
      .flops = [](const Problem& p) { return 2 * elements(p); },
  };
}

}  // namespace

std::vector<OpCase> adamw_cases() { return {adamw(), global_norm()}; }

}  // namespace tenon::testing
