#include "../../ops/elementwise.h"

#include <algorithm>
#include <cmath>

#include "op_table.h"

namespace tenon::testing {
namespace {

double elements(const Problem& p) { return static_cast<double>(p[0]) * static_cast<double>(p[1]); }

// Problem {rows, columns, b's rows, b's columns}: a [rows, columns], b broadcasts to it.
OpCase binary(const char* name, Tensor (*op)(const Tensor&, const Tensor&), double (*plain)(double, double)) {
  return {
      .name = name,
      .shapes = {{1, 1, 1, 1}, {7, 33, 7, 33}, {7, 33, 1, 33}, {7, 33, 7, 1}, {5, 130, 1, 1}, {0, 4, 1, 4}},
      .bench_shape = {4096, 1024, 4096, 1024},
      .gpu_shape = {8192, 8192, 8192, 8192},
      .inputs =
          [](Draw& draw, const Problem& p) {
            // b stays away from 0, where a quotient has no bound
            return Arrays{{"a", draw.normal({p[0], p[1]})}, {"b", draw.uniform({p[2], p[3]}, 0.5, 2)}};
          },
      .run =
          [op](const Tensors& in) {
            return Tensors{{"y", op(in["a"], in["b"])}};
          },
      .reference =
          [plain](const Arrays& in) {
            const Array &a = in["a"], &b = in["b"];
            Array y(a.shape);
            for (int64_t r = 0; r < a.dim(0); ++r)
              for (int64_t c = 0; c < a.dim(1); ++c)
                y.row(r)[c] = plain(a.row(r)[c], b.row(b.dim(0) == 1 ? 0 : r)[b.dim(1) == 1 ? 0 : c]);
            return Arrays{{"y", y}};
          },
      .tolerance = {{DType::f32, 1e-7, 0}, {DType::bf16, 4e-3, 0}},  // one rounding: 2^-24 and 2^-8, against |y| + rms
      .bytes = [](const Problem& p, double item) { return (2 * elements(p) + p[2] * p[3]) * item; },
      .flops = [](const Problem& p) { return elements(p); },
  };
}

// Problem {rows, columns}.
OpCase unary(const char* name, Tensor (*op)(const Tensor&), double (*plain)(double), double low, double high) {
  return {
      .name = name,
      .shapes = {{1, 1}, {3, 31}, {33, 67}},
      .bench_shape = {4096, 1024},
      .gpu_shape = {8192, 8192},
      .inputs =
          [low, high](Draw& draw, const Problem& p) {
            return Arrays{{"x", draw.uniform({p[0], p[1]}, low, high)}};
          },
      .run =
          [op](const Tensors& in) {
            return Tensors{{"y", op(in["x"])}};
          },
      .reference =
          [plain](const Arrays& in) {
            Array y = in["x"];
            for (double& v : y.values) v = plain(v);
            return Arrays{{"y", y}};
          },
      .tolerance = {{DType::f32, 2e-7, 0}, {DType::bf16, 4e-3, 0}},  // 2 ulp of exp and log; one rounding to bf16
      .bytes = [](const Problem& p, double item) { return 2 * elements(p) * item; },
      .flops = [](const Problem& p) { return elements(p); },
  };
}

// Problem {rows, columns}: y [rows, columns] += x, which has another dtype when y is f32; 0.75 is a number or a tensor.
OpCase add_into(const char* name, bool tensor) {
  return {
      .name = name,
      .shapes = {{1, 1}, {3, 31}, {33, 67}},
      .bench_shape = {4096, 1024},
      .gpu_shape = {8192, 8192},
      .inputs =
          [](Draw& draw, const Problem& p) {
            return Arrays{{"y", as_f32(draw.normal({p[0], p[1]}))}, {"x", draw.normal({p[0], p[1]})}};
          },
      .run =
          [tensor](const Tensors& in) {
            Tensor y = in["y"];
            if (tensor)
              ops::add_into(y, in["x"], Tensor::full({}, 0.75f, DType::f32, y.device()));
            else
              ops::add_into(y, in["x"], 0.75f);
            return Tensors{{"sum", y}};
          },
      .reference =
          [](const Arrays& in) {
            Array y = in["y"];
            for (int64_t i = 0; i < y.numel(); ++i) y[i] += 0.75 * in["x"][i];
            return Arrays{{"sum", y}};
          },
      .tolerance = {{DType::f32, 2e-7, 0}, {DType::bf16, 2e-7, 0}},  // the sum is f32 either way
      .bytes = [](const Problem& p, double item) { return elements(p) * (8 + item); },
      .flops = [](const Problem& p) { return 2 * elements(p); },
  };
}

// Problem {a, b, c, d, kept}: x [a, b, c, d] summed to the shape whose dimensions are those of the bits of `kept`,
// else 1.
OpCase sum_to() {
  const auto target = [](const Problem& p) {
    Shape s{p[0], p[1], p[2], p[3]};
    for (int d = 0; d < 4; ++d)
      if (!(p[4] >> d & 1)) s[d] = 1;
    return s;
  };
  return {
      .name = "sum_to",
      .shapes = {{2, 3, 4, 5, 0},
                 {2, 3, 4, 5, 15},
                 {2, 3, 4, 5, 8},
                 {2, 3, 4, 5, 5},
                 {2, 3, 4, 5, 10},
                 {2, 1, 70, 9, 1},
                 {1, 300, 1, 80, 8}},
      .bench_shape = {1, 4096, 1, 1024, 8},
      .gpu_shape = {1, 8192, 1, 8192, 8},
      .inputs =
          [](Draw& draw, const Problem& p) {
            return Arrays{{"x", draw.normal({p[0], p[1], p[2], p[3]})}};
          },
      .run =
          [target](const Tensors& in) {
            return Tensors{{"y", ops::sum_to(in["x"], target(in.problem))}};
          },
      .reference =
          [target](const Arrays& in) {
            Array y(target(in.problem));
            const Shape &from = in["x"].shape, &to = y.shape;
            for (int64_t i = 0; i < in["x"].numel(); ++i) {
              int64_t rest = i, place = 0, step = 1;
              for (int d = 3; d >= 0; --d) {
                place += to[d] == 1 ? 0 : rest % from[d] * step;
                rest /= from[d];
                step *= to[d];
              }
              y[place] += in["x"][i];
            }
            return Arrays{{"y", y}};
          },
      .tolerance = {{DType::f32, 1e-6, 0}, {DType::bf16, 4e-3, 0}},  // f32 sums of some hundred terms that cancel
      .small = 0.5,
      .bytes = [](const Problem& p, double item) { return item * p[0] * p[1] * p[2] * p[3]; },
      .flops = [](const Problem& p) { return 1.0 * p[0] * p[1] * p[2] * p[3]; },
  };
}

}  // namespace

std::vector<OpCase> elementwise_cases() {
  return {
      binary("add", ops::add, [](double a, double b) { return a + b; }),
      binary("sub", ops::sub, [](double a, double b) { return a - b; }),
      binary("mul", ops::mul, [](double a, double b) { return a * b; }),
      binary("div", ops::div, [](double a, double b) { return a / b; }),
      binary("maximum", ops::maximum, [](double a, double b) { return std::max(a, b); }),
      binary("minimum", ops::minimum, [](double a, double b) { return std::min(a, b); }),
      unary(
          "scale", [](const Tensor& x) { return ops::scale(x, -1.5f); }, [](double x) { return -1.5 * x; }, -3, 3),
      unary(
          "add_scalar", [](const Tensor& x) { return ops::add_scalar(x, 0.25f); }, [](double x) { return x + 0.25; },
          -3, 3),
      unary(
          "neg", ops::neg, [](double x) { return -x; }, -3, 3),
      unary(
          "exp", ops::exp, [](double x) { return std::exp(x); }, -20, 3),
      unary(
          "log", ops::log, [](double x) { return std::log(x); }, 1e-3, 30),
      unary(
          "sqrt", ops::sqrt, [](double x) { return std::sqrt(x); }, 0, 30),
      unary(
          "clamp", [](const Tensor& x) { return ops::clamp(x, -1, 2); },
          [](double x) { return std::clamp(x, -1.0, 2.0); }, -3, 3),
      add_into("add_into", false),
      add_into("add_into_by_tensor", true),
      sum_to(),
  };
}

}  // namespace tenon::testing
