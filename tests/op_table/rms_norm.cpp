#include "../../ops/rms_norm.h"

#include <cmath>

#include "op_table.h"

namespace tenon::testing {
namespace {

constexpr double kEps = 1e-5;

// x [rows, dim], weight [dim]
Array normalized(const Array& x, const Array& weight) {
  Array y(x.shape);
  for (int64_t r = 0; r < x.rows(); ++r) {
    double mean_square = 0;
    for (double v : x.row(r)) mean_square += v * v / static_cast<double>(x.dim(-1));
    for (int64_t c = 0; c < x.dim(-1); ++c) y.row(r)[c] = x.row(r)[c] / std::sqrt(mean_square + kEps) * weight[c];
  }
  return y;
}

// Problem {rows, dim}.
OpCase plain() {
  return {
      .name = "rms_norm",
      // Rows that a GPU holds in registers, in one to four pieces a thread, and longer ones.
      .shapes = {{1, 1}, {3, 31}, {130, 64}, {0, 16}, {2, 2056}, {3, 4104}, {2, 8200}},
      .bench_shape = {4096, 1024},
      .gpu_shape = {16384, 4096},
      .inputs =
          [](Draw& draw, const Problem& p) {
            return Arrays{{"x", draw.normal({p[0], p[1]})}, {"weight", draw.normal({p[1]}, /*mean=*/1, /*std=*/0.2)}};
          },
      .run =
          [](const Tensors& in) {
            auto [y, rstd] = ops::rms_norm(in["x"], in["weight"], kEps);
            return Tensors{{"y", y}, {"rstd", rstd}};
          },
      .backward =
          [](Gradients& g) {
            g.give("x", ops::rms_norm_backward(g.d("y"), g.in("x"), g.in("weight"), g.out("rstd"), &g.sink("weight")));
          },
      .reference =
          [](const Arrays& in) {
            return Arrays{{"y", normalized(in["x"], in["weight"])}};
          },
      // f32: a sum of dim squares and three roundings. bf16: one rounding of the result, 2^-9 of it, half of that on
      // average; gradients of one channel cancel, hence `small`.
      .tolerance = {{DType::f32, 1e-6, 4e-6}, {DType::bf16, 4e-3, 4e-3}},
      .small = 0.5,
      .bytes = [](const Problem& p, double item) { return 2.0 * p[0] * p[1] * item; },
      .flops = [](const Problem& p) { return 4.0 * p[0] * p[1]; },
      .backward_bytes = [](const Problem& p, double item) { return 3.0 * p[0] * p[1] * item; },
      .backward_flops = [](const Problem& p) { return 11.0 * p[0] * p[1]; },
  };
}

// Problem {rows, dim}: both outputs have a gradient.
OpCase residual() {
  OpCase op = plain();
  op.name = "rms_norm_residual";
  op.inputs = [](Draw& draw, const Problem& p) {
    return Arrays{{"x", draw.normal({p[0], p[1]})},
                  {"residual", draw.normal({p[0], p[1]})},
                  {"weight", draw.normal({p[1]}, /*mean=*/1, /*std=*/0.2)}};
  };
  op.run = [](const Tensors& in) {
    auto [y, sum, rstd] = ops::rms_norm_residual(in["x"], in["residual"], in["weight"], kEps);
    return Tensors{{"y", y}, {"sum", sum}, {"rstd", rstd}};
  };
  op.backward = [](Gradients& g) {
    Tensor dsum = ops::rms_norm_residual_backward(g.d("y"), &g.d("sum"), g.out("sum"), g.in("weight"), g.out("rstd"),
                                                  &g.sink("weight"));
    g.give("x", dsum);
    g.give("residual", dsum);
  };
  op.reference = [](const Arrays& in) {
    Array sum = in["x"];
    for (int64_t i = 0; i < sum.numel(); ++i) sum[i] += in["residual"][i];
    return Arrays{{"y", normalized(sum, in["weight"])}, {"sum", sum}};
  };
  op.differentiable = {"y", "sum"};
  // bf16: the sum is rounded before it is normalised, so that y has two roundings.
  op.tolerance = {{DType::f32, 1e-6, 4e-6}, {DType::bf16, 6e-3, 1e-2}};
  op.bytes = [](const Problem& p, double item) { return 4.0 * p[0] * p[1] * item; };
  op.flops = [](const Problem& p) { return 5.0 * p[0] * p[1]; };
  op.backward_bytes = [](const Problem& p, double item) { return 4.0 * p[0] * p[1] * item; };
  op.backward_flops = [](const Problem& p) { return 12.0 * p[0] * p[1]; };
  return op;
}

}  // namespace

std::vector<OpCase> rms_norm_cases() { return {plain(), residual()}; }

}  // namespace tenon::testing
