#include "matmul.h"

#include "../runtime/check.h"
#include "cpu/matmul.h"
#include "cuda/matmul.h"
#include "dispatch.h"

namespace tenon::ops {
namespace {

/// The result's shape; throws Error when a and b do not fit.
Shape product_shape(const Tensor& a, const Tensor& b, bool trans_a, bool trans_b) {
  check_float("matmul", {{"a", a}, {"b", b}});
  check_same_device("matmul", {{"a", a}, {"b", b}});
  check_same_dtype("matmul", {{"a", a}, {"b", b}});
  const auto fits = [&] {
    if (a.rank() < 2 || b.rank() < 2) return false;
    if (a.rank() > 2 && b.rank() > 2) {
      if (a.rank() != b.rank()) return false;
      for (int i = 0; i < a.rank() - 2; ++i)
        if (a.dim(i) != b.dim(i)) return false;
    }
    return a.dim(trans_a ? -2 : -1) == b.dim(trans_b ? -1 : -2);
  };
  check(fits(),
        "matmul: a {}{} and b {}{} do not fit: [..., m, k] and [..., k, n] are wanted, leading dims alike or on one "
        "side only",
        a.shape(), trans_a ? " transposed" : "", b.shape(), trans_b ? " transposed" : "");
  Shape shape = a.rank() >= b.rank() ? a.shape() : b.shape();
  shape[shape.rank() - 2] = a.dim(trans_a ? -1 : -2);
  shape[shape.rank() - 1] = b.dim(trans_b ? -2 : -1);
  return shape;
}

}  // namespace

Tensor matmul(const Tensor& a, const Tensor& b, bool trans_a, bool trans_b) {
  Tensor c = Tensor::empty(product_shape(a, b, trans_a, trans_b), a.dtype(), a.device());
  matmul_into(c, a, b, trans_a, trans_b, 0);
  return c;
}

void matmul_into(Tensor& c, const Tensor& a, const Tensor& b, bool trans_a, bool trans_b, float beta) {
  const Shape shape = product_shape(a, b, trans_a, trans_b);
  check(c.shape() == shape, "matmul: c {} must be {}, the product of a {} and b {}", c.shape(), shape, a.shape(),
        b.shape());
  check_float("matmul", {{"c", c}});
  check_contiguous("matmul", {"c", c});
  check_same_device("matmul", {{"c", c}, {"a", a}});
  check(c.dtype() == DType::f32 || a.dtype() == DType::bf16, "matmul: c of {} cannot hold products of {}", c.dtype(),
        a.dtype());
  check(beta == 0 || beta == 1, "matmul: beta must be 0 or 1, it is {}", beta);
  on_device({"matmul", 2.0 * static_cast<double>(c.numel()) * static_cast<double>(a.dim(trans_a ? -2 : -1)), a.dtype()},
            a.device(), cpu::matmul, cuda::matmul, c, a, b, trans_a, trans_b, beta);
  c.bump_version();
}

}  // namespace tenon::ops
