#include "../../ops/softmax.h"

#include <algorithm>
#include <cmath>

#include "../../ops/top_k.h"
#include "op_table.h"

namespace tenon::testing {
namespace {

double elements(const Problem& p) { return static_cast<double>(p[0]) * static_cast<double>(p[1]); }

Array log_softmax_of(const Array& x) {
  Array y(x.shape);
  for (int64_t r = 0; r < x.rows(); ++r) {
    const double largest = *std::ranges::max_element(x.row(r));
    double sum = 0;
    for (double v : x.row(r)) sum += std::exp(v - largest);
    for (int64_t c = 0; c < x.dim(-1); ++c) y.row(r)[c] = x.row(r)[c] - largest - std::log(sum);
  }
  return y;
}

// Problem {rows, columns}.
OpCase softmax() {
  return {
      .name = "softmax",
      .shapes = {{1, 1}, {3, 31}, {33, 67}, {2, 5000}, {0, 4}},
      .bench_shape = {4096, 1024},
      .gpu_shape = {8192, 8192},
      .inputs =
          [](Draw& draw, const Problem& p) {
            return Arrays{{"x", draw.normal({p[0], p[1]}, 0, 3)}};
          },
      .run =
          [](const Tensors& in) {
            return Tensors{{"y", ops::softmax(in["x"])}};
          },
      .backward = [](Gradients& g) { g.give("x", ops::softmax_backward(g.d("y"), g.out("y"))); },
      .reference =
          [](const Arrays& in) {
            Array y = log_softmax_of(in["x"]);
            for (double& v : y.values) v = std::exp(v);
            return Arrays{{"y", y}};
          },
      // bf16: the gradient is made from y, which was rounded
      .tolerance = {{DType::f32, 1e-6, 4e-6}, {DType::bf16, 4e-3, 1e-2}},
      .small = 1e-3,
      .bytes = [](const Problem& p, double item) { return 2 * elements(p) * item; },
      .flops = [](const Problem& p) { return 18 * elements(p); },
      .backward_bytes = [](const Problem& p, double item) { return 3 * elements(p) * item; },
      .backward_flops = [](const Problem& p) { return 4 * elements(p); },
  };
}

OpCase log_softmax() {
  OpCase op = softmax();
  op.name = "log_softmax";
  op.run = [](const Tensors& in) { return Tensors{{"y", ops::log_softmax(in["x"])}}; };
  op.backward = [](Gradients& g) { g.give("x", ops::log_softmax_backward(g.d("y"), g.out("y"))); };
  op.reference = [](const Arrays& in) { return Arrays{{"y", log_softmax_of(in["x"])}}; };
  // bf16: y of size 10 was rounded to 2^-8 of it, and exp(y) in the gradient times the sum of dy has that error times
  // 10
  op.tolerance = {{DType::f32, 1e-6, 3e-6}, {DType::bf16, 4e-3, 3e-2}};
  op.small = 0.5;
  op.backward_flops = [](const Problem& p) { return 17 * elements(p); };
  return op;
}

// Problem {rows, columns, k}.
OpCase top_k() {
  return {
      .name = "top_k",
      .shapes = {{1, 1, 1},
                 {5, 31, 4},
                 {20, 300, 64},
                 {3, 300, 65},
                 {4, 8, 8},
                 {9, 512, 32},
                 {2, 5000, 600},
                 {1, 4500, 4200}},
      .bench_shape = {4096, 128, 8},
      .gpu_shape = {262144, 128, 8},
      .inputs =
          [](Draw& draw, const Problem& p) {
            return Arrays{{"x", draw.normal({p[0], p[1]})}};
          },
      .run =
          [](const Tensors& in) {
            auto [values, indices] = ops::top_k(in["x"], static_cast<int>(in.problem[2]));
            return Tensors{{"values", values}, {"indices", indices}};
          },
      .reference =
          [](const Arrays& in) {
            const Array& x = in["x"];
            const int64_t k = in.problem[2];
            Array values({x.dim(0), k}), indices({x.dim(0), k}, Kind::i32);
            for (int64_t r = 0; r < x.dim(0); ++r) {
              std::vector<int64_t> order(static_cast<size_t>(x.dim(1)));
              for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int64_t>(i);
              // stable: rounding to bf16 makes ties, and the lower index must win
              std::ranges::stable_sort(order, [&](int64_t a, int64_t b) { return x.row(r)[a] > x.row(r)[b]; });
              for (int64_t j = 0; j < k; ++j) {
                indices.row(r)[j] = static_cast<double>(order[static_cast<size_t>(j)]);
                values.row(r)[j] = x.row(r)[order[static_cast<size_t>(j)]];
              }
            }
            return Arrays{{"values", values}, {"indices", indices}};
          },
      .tolerance = {{DType::f32, 0, 0}, {DType::bf16, 0, 0}},
      .bytes = [](const Problem& p, double item) { return item * elements(p) + (4 + item) * p[0] * p[2]; },
  };
}

}  // namespace

std::vector<OpCase> softmax_cases() { return {softmax(), log_softmax(), top_k()}; }

}  // namespace tenon::testing
