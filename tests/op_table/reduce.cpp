#include "../../ops/reduce.h"

#include <algorithm>
#include <limits>

#include "op_table.h"

namespace tenon::testing {
namespace {

double elements(const Problem& p) {
  return static_cast<double>(p[0]) * static_cast<double>(p[1]) * static_cast<double>(p[2]);
}

// Problem {outer, n, inner}: over the middle dimension.
OpCase over_dim(const char* name, Tensor (*op)(const Tensor&, int, bool), bool is_max, bool is_mean) {
  return {
      .name = name,
      .shapes = {{1, 1, 1}, {3, 31, 1}, {5, 7, 33}, {1, 5000, 8}, {2, 40000, 1}},
      .bench_shape = {4096, 1024, 1},
      .gpu_shape = {8192, 8192, 1},
      .inputs =
          [](Draw& draw, const Problem& p) {
            return Arrays{{"x", draw.normal({p[0], p[1], p[2]})}};
          },
      .run =
          [op](const Tensors& in) {
            return Tensors{{"y", op(in["x"], 1, false)}};
          },
      .reference =
          [is_max, is_mean](const Arrays& in) {
            const Problem& p = in.problem;
            Array y({p[0], p[2]});
            for (int64_t o = 0; o < p[0]; ++o)
              for (int64_t i = 0; i < p[2]; ++i) {
                double sum = 0, largest = -std::numeric_limits<double>::infinity();
                for (int64_t j = 0; j < p[1]; ++j) {
                  const double v = in["x"][(o * p[1] + j) * p[2] + i];
                  sum += v;
                  largest = std::max(largest, v);
                }
                y[o * p[2] + i] = is_max ? largest : is_mean ? sum / static_cast<double>(p[1]) : sum;
              }
            return Arrays{{"y", y}};
          },
      // f32 sums of n terms in lanes and blocks: sqrt(n) roundings of partial sums; bf16: one rounding of the result
      .tolerance = {{DType::f32, 2e-6, 0}, {DType::bf16, 4e-3, 0}},
      .bytes = [](const Problem& p, double item) { return elements(p) * item; },
      .flops = [](const Problem& p) { return elements(p); },
  };
}

// Problem {outer, n, inner}: over everything.
OpCase over_all() {
  OpCase op = over_dim("sum_all", ops::sum, false, false);
  op.run = [](const Tensors& in) { return Tensors{{"y", ops::sum(in["x"])}}; };
  op.reference = [](const Arrays& in) {
    Array y(Shape{}, Kind::f32);
    for (double v : in["x"].values) y[0] += v;
    return Arrays{{"y", y}};
  };
  op.tolerance = {{DType::f32, 1e-5, 0}, {DType::bf16, 1e-5, 0}};  // f32 either way; the sum of 1e5 terms cancels
  op.small = 1;
  return op;
}

}  // namespace

std::vector<OpCase> reduce_cases() {
  return {over_dim("sum", ops::sum, false, false), over_dim("mean", ops::mean, false, true),
          over_dim("max", ops::max, true, false), over_all()};
}

}  // namespace tenon::testing
