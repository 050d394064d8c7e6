#include "../../ops/matmul.h"

#include "op_table.h"

namespace tenon::testing {
namespace {

struct Size {
  int64_t batch, m, n, k;
  bool trans_a, trans_b, shared;  // shared: b has no batch
};

Size size_of_problem(const Problem& p) { return {p[0], p[1], p[2], p[3], p[4] != 0, p[5] != 0, p[6] != 0}; }

double multiply_adds(const Problem& p) { return static_cast<double>(p[0] * p[1]) * static_cast<double>(p[2] * p[3]); }

double elements(const Problem& p) {
  return static_cast<double>(p[0] * p[1] * p[3] + (p[6] ? 1 : p[0]) * p[2] * p[3] + p[0] * p[1] * p[2]);
}

Array reference(const Array& a, const Array& b, const Size& s) {
  Array c({s.batch, s.m, s.n});
  for (int64_t i = 0; i < s.batch; ++i)
    for (int64_t r = 0; r < s.m; ++r)
      for (int64_t q = 0; q < s.n; ++q) {
        double sum = 0;
        for (int64_t l = 0; l < s.k; ++l)
          sum += a[i * s.m * s.k + (s.trans_a ? l * s.m + r : r * s.k + l)] *
                 b[(s.shared ? 0 : i * s.n * s.k) + (s.trans_b ? q * s.k + l : l * s.n + q)];
        c[(i * s.m + r) * s.n + q] = sum;
      }
  return c;
}

}  // namespace

// Problem {batch, m, n, k, trans_a, trans_b, b shared by the batch}.
std::vector<OpCase> matmul_cases() {
  return {{
      .name = "matmul",
      .shapes = {{1, 1, 1, 1, 0, 0, 0},
                 {3, 5, 7, 9, 0, 0, 0},
                 {2, 33, 17, 70, 0, 1, 0},
                 {2, 16, 40, 65, 1, 0, 0},
                 {3, 11, 13, 31, 1, 1, 0},
                 {4, 9, 20, 33, 0, 0, 1},
                 {2, 20, 9, 12, 1, 1, 1},
                 {40, 24, 24, 24, 0, 1, 0},
                 {2, 0, 3, 4, 0, 0, 0},
                 {2, 3, 4, 0, 0, 0, 0}},
      .bench_shape = {16, 256, 256, 64, 0, 1, 0},
      .gpu_shape = {1, 8192, 8192, 8192, 0, 1, 0},
      .inputs =
          [](Draw& draw, const Problem& p) {
            const Size s = size_of_problem(p);
            const Shape a = s.trans_a ? Shape{s.batch, s.k, s.m} : Shape{s.batch, s.m, s.k};
            const Shape matrix = s.trans_b ? Shape{s.n, s.k} : Shape{s.k, s.n};
            return Arrays{{"a", draw.normal(a)},
                          {"b", draw.normal(s.shared ? matrix : Shape{s.batch, matrix[0], matrix[1]})}};
          },
      .run =
          [](const Tensors& in) {
            return Tensors{{"c", ops::matmul(in["a"], in["b"], in.problem[4] != 0, in.problem[5] != 0)}};
          },
      .backward =
          [](Gradients& g) {
            const Size s = size_of_problem(g.problem());
            const Tensor &a = g.in("a"), &b = g.in("b"), &dc = g.d("c");
            g.give("a", s.trans_a ? ops::matmul(b, dc, s.trans_b, true) : ops::matmul(dc, b, false, !s.trans_b));
            if (!s.shared)
              g.give("b", s.trans_b ? ops::matmul(dc, a, true, s.trans_a) : ops::matmul(a, dc, !s.trans_a, false));
          },
      .reference =
          [](const Arrays& in) {
            return Arrays{{"c", reference(in["a"], in["b"], size_of_problem(in.problem))}};
          },
      // f32: sums of up to 70 products in another order. bf16: products are exact in f32, the result is rounded once
      // (2^-9 of it).
      .tolerance = {{DType::f32, 2e-6, 2e-6}, {DType::bf16, 4e-3, 4e-3}},
      .bytes = [](const Problem& p, double item) { return elements(p) * item; },
      .flops = [](const Problem& p) { return 2 * multiply_adds(p); },
      .backward_bytes = [](const Problem& p, double item) { return 2 * elements(p) * item; },
      .backward_flops = [](const Problem& p) { return 4 * multiply_adds(p); },
  }};
}

}  // namespace tenon::testing
