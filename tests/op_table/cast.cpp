#include "../../ops/cast.h"

#include "op_table.h"

namespace tenon::testing {
namespace {

double elements(const Problem& p) { return static_cast<double>(p[0]) * static_cast<double>(p[1]); }

// Problem {rows, columns}: from the tested dtype to the other one.
OpCase cast() {
  return {
      .name = "cast",
      .shapes = {{1, 1}, {3, 31}, {33, 67}},
      .bench_shape = {4096, 1024},
      .gpu_shape = {8192, 8192},
      .inputs =
          [](Draw& draw, const Problem& p) {
            return Arrays{{"x", draw.normal({p[0], p[1]})}};
          },
      .run =
          [](const Tensors& in) {
            return Tensors{{"y", ops::cast(in["x"], in["x"].dtype() == DType::f32 ? DType::bf16 : DType::f32)}};
          },
      .reference =
          [](const Arrays& in) {
            return Arrays{{"y", in["x"]}};
          },
      .tolerance = {{DType::f32, 4e-3, 0}, {DType::bf16, 0, 0}},  // to bf16: one rounding; from it: exact
      .bytes = [](const Problem& p, double) { return 6 * elements(p); },
  };
}

// Problem {rows, columns}: into a transposed view, y [columns, rows].
OpCase copy_into() {
  return {
      .name = "copy_transposed",
      .shapes = {{1, 1}, {3, 31}, {70, 67}},
      .bench_shape = {4096, 1024},
      .gpu_shape = {8192, 8192},
      .inputs =
          [](Draw& draw, const Problem& p) {
            return Arrays{{"x", draw.normal({p[0], p[1]})}};
          },
      .run =
          [](const Tensors& in) {
            const Tensor x = in["x"].transpose(0, 1);
            Tensor y = Tensor::like(x);
            ops::copy_into(y, x);
            return Tensors{{"y", y}};
          },
      .reference =
          [](const Arrays& in) {
            const Array& x = in["x"];
            Array y({x.dim(1), x.dim(0)});
            for (int64_t r = 0; r < x.dim(0); ++r)
              for (int64_t c = 0; c < x.dim(1); ++c) y.row(c)[r] = x.row(r)[c];
            return Arrays{{"y", y}};
          },
      .tolerance = {{DType::f32, 0, 0}, {DType::bf16, 0, 0}},
      .bytes = [](const Problem& p, double item) { return 2 * elements(p) * item; },
  };
}

}  // namespace

std::vector<OpCase> cast_cases() { return {cast(), copy_into()}; }

}  // namespace tenon::testing
