#include "linear.h"

#include "../runtime/check.h"
#include "cpu/linear.h"
#include "cuda/linear.h"
#include "dispatch.h"

namespace tenon::ops {
namespace {

Shape with_last(const Shape& shape, int64_t last) {
  Shape result = shape;
  result[result.rank() - 1] = last;
  return result;
}

void check_weight(const char* op, NamedTensor x, const Tensor& w, int w_dim) {
  check_float(op, {x, {"w", w}});
  check_same_device(op, {x, {"w", w}});
  check(w.rank() == 2 && x.tensor.rank() >= 1 && x.tensor.dim(-1) == w.dim(w_dim),
        "{}: the last dim of {} {} must be dim {} of the weight [out, in] {}", op, x.name, x.tensor.shape(), w_dim,
        w.shape());
  check(w.dtype() == x.tensor.dtype() || x.tensor.dtype() == DType::f32,
        "{}: {} is {} with a weight of {}; it must be f32 or of the weight's dtype", op, x.name, x.tensor.dtype(),
        w.dtype());
}

void check_result(const char* op, NamedTensor y, NamedTensor from, const Shape& shape) {
  check_float(op, {y});
  check_shape(op, y, shape);
  check_contiguous(op, y);
  check_same_device(op, {y, from});
  check(y.tensor.dtype() == DType::f32 || y.tensor.dtype() == from.tensor.dtype(),
        "{}: {} is {}; it must be f32 or of the dtype of {}, {}", op, y.name, y.tensor.dtype(), from.name,
        from.tensor.dtype());
}

void check_beta(const char* op, float beta) {
  check(beta == 0 || beta == 1, "{}: beta must be 0 or 1, it is {}", op, beta);
}

// Each row of x with all of the weight.
OpCall product(const char* op, const Tensor& x, const Tensor& w) {
  return {op, 2.0 * static_cast<double>(x.rows()) * static_cast<double>(w.numel()), x.dtype()};
}

}  // namespace

Tensor linear(const Tensor& x, const Tensor& w, const Tensor* bias, const PackedWeight* packed,
              std::optional<DType> out) {
  check_weight("linear", {"x", x}, w, 1);
  Tensor y = Tensor::empty(with_last(x.shape(), w.dim(0)), out.value_or(x.dtype()), x.device());
  linear_into(y, x, w, bias, packed);
  return y;
}

void linear_into(Tensor& y, const Tensor& x, const Tensor& w, const Tensor* bias, const PackedWeight* packed) {
  check_weight("linear", {"x", x}, w, 1);
  check_result("linear", {"y", y}, {"x", x}, with_last(x.shape(), w.dim(0)));
  if (bias) {
    check_float("linear", {{"bias", *bias}});
    check_shape("linear", {"bias", *bias}, {w.dim(0)});
    check_same_device("linear", {{"x", x}, {"bias", *bias}});
  }
  on_device(product("linear", x, w), x.device(), cpu::linear, cuda::linear, y, x, w, bias, packed);
  y.bump_version();
}

void linear_backward_input(Tensor& dx, float beta, const Tensor& dy, const Tensor& w, const PackedWeight* packed) {
  check_weight("linear_backward_input", {"dy", dy}, w, 0);
  check_result("linear_backward_input", {"dx", dx}, {"dy", dy}, with_last(dy.shape(), w.dim(1)));
  check_beta("linear_backward_input", beta);
  on_device(product("linear_backward_input", dy, w), dy.device(), cpu::linear_backward_input,
            cuda::linear_backward_input, dx, beta, dy, w, packed);
  dx.bump_version();
}

void linear_backward_weight(Tensor& dw, const Tensor& dy, const Tensor& x) {
  check_float("linear_backward_weight", {{"dy", dy}, {"x", x}});
  check_same_device("linear_backward_weight", {{"dw", dw}, {"dy", dy}, {"x", x}});
  check(dy.rank() >= 1 && x.rank() >= 1 && dy.rows() == x.rows(),
        "linear_backward_weight: dy {} and x {} must have the same rows", dy.shape(), x.shape());
  check_dtype("linear_backward_weight", {"dw", dw}, DType::f32);
  check_shape("linear_backward_weight", {"dw", dw}, {dy.dim(-1), x.dim(-1)});
  check_contiguous("linear_backward_weight", {"dw", dw});
  on_device(product("linear_backward_weight", dy, dw), dy.device(), cpu::linear_backward_weight,
            cuda::linear_backward_weight, dw, dy, x);
  dw.bump_version();
}

void linear_backward_bias(Tensor& db, const Tensor& dy) {
  check_float("linear_backward_bias", {{"dy", dy}});
  check_same_device("linear_backward_bias", {{"db", db}, {"dy", dy}});
  check_dtype("linear_backward_bias", {"db", db}, DType::f32);
  check(dy.rank() >= 1 && db.shape() == Shape({dy.dim(-1)}),
        "linear_backward_bias: db {} must have one value for each column of dy {}", db.shape(), dy.shape());
  check_contiguous("linear_backward_bias", {"db", db});
  on_device("linear_backward_bias", dy.device(), cpu::linear_backward_bias, cuda::linear_backward_bias, db, dy);
  db.bump_version();
}

}  // namespace tenon::ops
