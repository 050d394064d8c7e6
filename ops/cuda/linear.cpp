#include "linear.h"

#include "column_sums.h"
#include "cublas.h"
#include "elementwise.h"
#include "product_operand.h"

namespace tenon::ops::cuda {
namespace {

/// y = beta * y + x W^T (forward) or dy W (backward), with the bias where the product can add it.
void multiply_rows(Tensor& y, float beta, const Tensor& x, const Tensor& w, bool transposed, const void* bias) {
  const DType dtype = product_dtype(x.dtype(), w.dtype());
  const Tensor a = operand(x, dtype), b = operand(w, dtype);
  const Product product{
      .m = x.rows(), .n = y.dim(-1), .k = x.dim(-1), .operands = dtype, .result = y.dtype(), .beta = beta};
  multiply(product, {a.raw(), x.dim(-1)}, {b.raw(), w.dim(1), transposed}, y.raw(), bias);
}

}  // namespace

void linear(Tensor& y, const Tensor& x, const Tensor& w, const Tensor* bias, const PackedWeight*) {
  if (y.numel() == 0) return;
  // The product adds a bias of its result's type, which it reads 16 bytes at a time; another is added after it.
  const Tensor dense = bias ? bias->contiguous() : Tensor();
  const bool fused = bias && bias->dtype() == y.dtype() && reinterpret_cast<uintptr_t>(dense.raw()) % 16 == 0;
  multiply_rows(y, 0, x, w, /*transposed=*/true, fused ? dense.raw() : nullptr);
  if (bias && !fused) add_into(y, dense, 1);
}

void linear_backward_input(Tensor& dx, float beta, const Tensor& dy, const Tensor& w, const PackedWeight*) {
  if (dx.numel() > 0) multiply_rows(dx, beta, dy, w, /*transposed=*/false, nullptr);
}

void linear_backward_weight(Tensor& dw, const Tensor& dy, const Tensor& x) {
  if (dw.numel() == 0 || x.rows() == 0) return;
  const DType dtype = product_dtype(dy.dtype(), x.dtype());
  const Tensor a = operand(dy, dtype), b = operand(x, dtype);
  const int64_t out = dw.dim(0), in = dw.dim(1);
  multiply({.m = out, .n = in, .k = x.rows(), .operands = dtype, .result = DType::f32, .beta = 1},
           {a.raw(), out, /*transposed=*/true}, {b.raw(), in}, dw.raw());
}

void linear_backward_bias(Tensor& db, const Tensor& dy) {
  const Tensor dense = dy.contiguous();
  for_float_types(dy.dtype(), [&]<class T>() {
    add_column_sums(dy.device(), dense.data<T>(), dy.rows(), dy.dim(-1), db.data<float>());
  });
}

}  // namespace tenon::ops::cuda
