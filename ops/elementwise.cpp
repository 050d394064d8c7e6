#include "elementwise.h"

#include "../runtime/check.h"
#include "cast.h"
#include "cpu/elementwise.h"
#include "cpu/reduce.h"
#include "cuda/elementwise.h"
#include "cuda/reduce.h"
#include "dispatch.h"

namespace tenon::ops {
namespace {

Tensor binary(const char* name, Binary op, const Tensor& a, const Tensor& b) {
  check_same_device(name, {{"a", a}, {"b", b}});
  check_float(name, {{"a", a}, {"b", b}});
  Tensor y = Tensor::empty(broadcast_shape(name, a.shape(), b.shape()), a.dtype(), a.device());
  if (y.numel() > 0) on_device(name, a.device(), cpu::binary, cuda::binary, op, a, b, y);
  return y;
}

Tensor unary(const char* name, Unary op, const Tensor& x, float p = 0, float q = 0) {
  check_float(name, {{"x", x}});
  Tensor y = Tensor::like(x);
  on_device(name, x.device(), cpu::unary, cuda::unary, op, x.contiguous(), y, p, q);
  return y;
}

void check_add_into(const Tensor& y, const Tensor& x) {
  check_same_device("add_into", {{"y", y}, {"x", x}});
  check_float("add_into", {{"y", y}, {"x", x}});
  check(broadcast_shape("add_into", y.shape(), x.shape()) == y.shape(), "add_into: x {} does not broadcast to y {}",
        x.shape(), y.shape());
}

}  // namespace

Shape broadcast_shape(const char* op, const Shape& a, const Shape& b) {
  Shape out = a.rank() >= b.rank() ? a : b;
  for (int i = 1; i <= out.rank(); ++i) {
    const int64_t from_a = i <= a.rank() ? a[a.rank() - i] : 1, from_b = i <= b.rank() ? b[b.rank() - i] : 1;
    check(from_a == from_b || from_a == 1 || from_b == 1, "{}: shapes {} and {} do not broadcast", op, a, b);
    out[out.rank() - i] = from_a == 1 ? from_b : from_a;
  }
  return out;
}

Tensor add(const Tensor& a, const Tensor& b) { return binary("add", Binary::add, a, b); }
Tensor sub(const Tensor& a, const Tensor& b) { return binary("sub", Binary::sub, a, b); }
Tensor mul(const Tensor& a, const Tensor& b) { return binary("mul", Binary::mul, a, b); }
Tensor div(const Tensor& a, const Tensor& b) { return binary("div", Binary::div, a, b); }
Tensor maximum(const Tensor& a, const Tensor& b) { return binary("maximum", Binary::maximum, a, b); }
Tensor minimum(const Tensor& a, const Tensor& b) { return binary("minimum", Binary::minimum, a, b); }

Tensor scale(const Tensor& x, float factor) { return unary("scale", Unary::scale, x, factor); }
Tensor add_scalar(const Tensor& x, float value) { return unary("add_scalar", Unary::add_scalar, x, value); }
Tensor neg(const Tensor& x) { return unary("neg", Unary::scale, x, -1); }
Tensor exp(const Tensor& x) { return unary("exp", Unary::exp, x); }
Tensor log(const Tensor& x) { return unary("log", Unary::log, x); }
Tensor sqrt(const Tensor& x) { return unary("sqrt", Unary::sqrt, x); }

Tensor clamp(const Tensor& x, float lo, float hi) {
  check(lo <= hi, "clamp: the lower bound {} is above the upper bound {}", lo, hi);
  return unary("clamp", Unary::clamp, x, lo, hi);
}

void add_into(Tensor& y, const Tensor& x, float alpha) {
  check_add_into(y, x);
  if (y.numel() > 0) on_device("add_into", y.device(), cpu::add_into, cuda::add_into, y, x, alpha);
  y.bump_version();
}

void add_into(Tensor& y, const Tensor& x, const Tensor& alpha) {
  check_add_into(y, x);
  check_same_device("add_into", {{"y", y}, {"alpha", alpha}});
  check_dtype("add_into", {"alpha", alpha}, DType::f32);
  check_shape("add_into", {"alpha", alpha}, {});
  if (y.numel() > 0) on_device("add_into", y.device(), cpu::add_scaled_into, cuda::add_scaled_into, y, x, alpha);
  y.bump_version();
}

Tensor sum_to(const Tensor& x, const Shape& shape) {
  check_float("sum_to", {{"x", x}});
  check(broadcast_shape("sum_to", x.shape(), shape) == x.shape(), "sum_to: {} does not broadcast to x {}", shape,
        x.shape());
  if (x.shape() == shape) return x;

  // Neighbouring dimensions that are summed (or kept) are taken as one: [outer, summed, inner], from the first to the
  // last.
  Tensor y = x.contiguous();
  const int shift = x.rank() - shape.rank();
  const auto summed = [&](int d) { return d < shift || (shape[d - shift] == 1 && x.shape()[d] != 1); };
  const auto kept = [&](int d) { return !summed(d) && x.shape()[d] != 1; };
  int64_t outer = 1;
  for (int d = 0; d < x.rank();) {
    if (!summed(d)) {
      outer *= x.shape()[d++];
      continue;
    }
    int64_t n = 1;
    for (; d < x.rank() && !kept(d); ++d) n *= x.shape()[d];
    const int64_t inner =
        n * outer == 0 ? Shape(std::span(x.shape().begin() + d, x.shape().end())).numel() : y.numel() / (outer * n);
    Tensor sums = Tensor::empty({outer, inner}, DType::f32, x.device());
    on_device("sum_to", x.device(), cpu::reduce, cuda::reduce, Reduction::sum, y, outer, n, inner, sums);
    y = sums;
  }
  return cast(y, x.dtype()).view(shape);
}

void fill(Tensor& x, float value) {
  check_float("fill", {{"x", x}});
  on_device("fill", x.device(), cpu::fill, cuda::fill, x, value);
  x.bump_version();
}

void scale_in_place(Tensor& x, float factor) {
  check_float("scale_in_place", {{"x", x}});
  check_contiguous("scale_in_place", {"x", x});
  on_device("scale_in_place", x.device(), cpu::unary, cuda::unary, Unary::scale, x, x, factor, 0.0f);
  x.bump_version();
}

}  // namespace tenon::ops
