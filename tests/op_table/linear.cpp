#include "../../ops/linear.h"

#include "op_table.h"

namespace tenon::testing {
namespace {

double multiply_adds(const Problem& p) { return static_cast<double>(p[0]) * static_cast<double>(p[1] * p[2]); }
double elements(const Problem& p) { return static_cast<double>(p[0] * p[1] + p[1] * p[2] + p[0] * p[2]); }

Array product(const Array& x, const Array& w, const Array* bias) {
  Array y({x.dim(0), w.dim(0)});
  for (int64_t r = 0; r < x.dim(0); ++r)
    for (int64_t o = 0; o < w.dim(0); ++o) {
      double sum = bias ? (*bias)[o] : 0;
      for (int64_t i = 0; i < x.dim(1); ++i) sum += x.row(r)[i] * w.row(o)[i];
      y.row(r)[o] = sum;
    }
  return y;
}

// Problem {rows, in, out}.
OpCase plain() {
  return {
      .name = "linear",
      .shapes = {{1, 1, 1}, {3, 31, 17}, {70, 64, 48}, {17, 96, 130}, {1, 576, 192}, {9, 128, 64}, {0, 8, 4}},
      .bench_shape = {2048, 576, 1536},
      .gpu_shape = {16384, 2048, 8192},
      .inputs =
          [](Draw& draw, const Problem& p) {
            return Arrays{{"x", draw.normal({p[0], p[1]})}, {"w", draw.normal({p[2], p[1]})}};
          },
      .run =
          [](const Tensors& in) {
            return Tensors{{"y", ops::linear(in["x"], in["w"])}};
          },
      .backward =
          [](Gradients& g) {
            ops::linear_backward_input(g.buffer("x"), 0, g.d("y"), g.in("w"));
            ops::linear_backward_weight(g.sink("w"), g.d("y"), g.in("x"));
          },
      .reference =
          [](const Arrays& in) {
            return Arrays{{"y", product(in["x"], in["w"], nullptr)}};
          },
      // f32: sums of up to 576 products in another order. bf16: products are exact in f32, the result is rounded once
      // (at most 2^-8 of it); sums of gradients of the weight are f32.
      .tolerance = {{DType::f32, 2e-6, 2e-6}, {DType::bf16, 4e-3, 4e-3}},
      .bytes = [](const Problem& p, double item) { return elements(p) * item; },
      .flops = [](const Problem& p) { return 2 * multiply_adds(p); },
      .backward_bytes = [](const Problem& p,
                           double item) { return elements(p) * item + elements(p) * item + 4.0 * p[1] * p[2]; },
      .backward_flops = [](const Problem& p) { return 4 * multiply_adds(p); },
  };
}

OpCase with_bias() {
  OpCase op = plain();
  op.name = "linear_bias";
  op.inputs = [](Draw& draw, const Problem& p) {
    return Arrays{{"x", draw.normal({p[0], p[1]})}, {"w", draw.normal({p[2], p[1]})}, {"bias", draw.normal({p[2]})}};
  };
  op.run = [](const Tensors& in) { return Tensors{{"y", ops::linear(in["x"], in["w"], &in["bias"])}}; };
  op.backward = [](Gradients& g) {
    ops::linear_backward_input(g.buffer("x"), 0, g.d("y"), g.in("w"));
    ops::linear_backward_weight(g.sink("w"), g.d("y"), g.in("x"));
    ops::linear_backward_bias(g.sink("bias"), g.d("y"));
  };
  op.reference = [](const Arrays& in) { return Arrays{{"y", product(in["x"], in["w"], &in["bias"])}}; };
  // bf16: y is rounded again when the bias is added.
  op.tolerance = {{DType::f32, 2e-6, 2e-6}, {DType::bf16, 6e-3, 4e-3}};
  return op;
}

// The same with weights packed for each use.
OpCase packed() {
  OpCase op = plain();
  op.name = "linear_packed";
  op.run = [](const Tensors& in) {
    const auto packed = ops::pack_weight(in["w"], ops::PackFor::forward);
    return Tensors{{"y", ops::linear(in["x"], in["w"], nullptr, packed.get())}};
  };
  op.backward = [](Gradients& g) {
    const auto packed = ops::pack_weight(g.in("w"), ops::PackFor::backward);
    ops::linear_backward_input(g.buffer("x"), 0, g.d("y"), g.in("w"), packed.get());
    ops::linear_backward_weight(g.sink("w"), g.d("y"), g.in("x"));
  };
  return op;
}

}  // namespace

std::vector<OpCase> linear_cases() { return {plain(), with_bias(), packed()}; }

}  // namespace tenon::testing
