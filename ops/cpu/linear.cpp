#include "linear.h"

#include "../../runtime/simd.h"
#include "../../runtime/threads.h"
#include "../../runtime/workspace.h"
#include "gemm.h"
#include "packed_weight.h"

namespace tenon::ops::cpu {
namespace {

template <class T, class B>
TENON_CLONES void add_to_rows(T* y, const B* bias, int64_t rows, int64_t dim) {
  for (int64_t r = 0; r < rows; ++r)
#pragma omp simd
    for (int64_t c = 0; c < dim; ++c) y[r * dim + c] = from_float<T>(to_float(y[r * dim + c]) + to_float(bias[c]));
}

template <class T>
TENON_CLONES void add_rows(float* sum, const T* x, int64_t rows, int64_t dim) {
  for (int64_t r = 0; r < rows; ++r)
#pragma omp simd
    for (int64_t c = 0; c < dim; ++c) sum[c] += to_float(x[r * dim + c]);
}

void add_bias(Tensor& y, const Tensor& bias_in) {
  const Tensor bias = bias_in.contiguous();
  const int64_t dim = y.dim(-1);
  for_float_types(y.dtype(), [&]<class T>() {
    for_float_types(bias.dtype(), [&]<class B>() {
      T* to = y.data<T>();
      const B* from = bias.data<B>();
      parallel_for(y.rows(), 1 + (1 << 14) / (dim + 1),
                   [&](int64_t begin, int64_t end) { add_to_rows(to + begin * dim, from, end - begin, dim); });
    });
  });
}

/// y = beta * y + x W^T (or dy W), by way of an f32 result where the product cannot write y's dtype itself.
void multiply(Tensor& y, float beta, const Tensor& x, const WeightOperand& w) {
  const Tensor a = converted(x, w.product());
  const int64_t m = x.rows(), k = x.dim(-1), n = y.dim(-1);
  if (y.dtype() == DType::f32 || w.product() == DType::bf16) {
    w.multiply(0, m, a.raw(), k, y.raw(), y.dtype(), n, beta);
  } else {
    Tensor wide = Tensor::empty(y.shape(), DType::f32);
    w.multiply(0, m, a.raw(), k, wide.raw(), DType::f32, n, 0);
    convert_into(y, beta, wide);
  }
}

}  // namespace

void linear(Tensor& y, const Tensor& x, const Tensor& w, const Tensor* bias, const PackedWeight* packed) {
  if (y.numel() == 0) return;
  multiply(y, 0, x, WeightOperand("linear", x.dtype(), w, PackFor::forward, packed));
  if (bias) add_bias(y, *bias);
}

void linear_backward_input(Tensor& dx, float beta, const Tensor& dy, const Tensor& w, const PackedWeight* packed) {
  if (dx.numel() == 0) return;
  multiply(dx, beta, dy, WeightOperand("linear_backward_input", dy.dtype(), w, PackFor::backward, packed));
}

void linear_backward_weight(Tensor& dw, const Tensor& dy, const Tensor& x) {
  const DType product = product_dtype(dy.dtype(), x.dtype());
  const Tensor a = converted(dy, product), b = converted(x, product);
  const int64_t out = dw.dim(0), in = dw.dim(1);
  gemm(out, in, x.rows(), product, {a.raw(), out, /*transposed=*/true}, {b.raw(), in}, dw.raw(), DType::f32, in, 1);
}

void linear_backward_bias(Tensor& db, const Tensor& dy_in) {
  const Tensor dy = dy_in.contiguous();
  const int64_t rows = dy.rows(), dim = dy.dim(-1);
  // One partial sum for each block of rows, added in order: the same bits for any number of threads.
  const RowBlocks blocks(rows, /*at_least=*/64);
  auto partial = Workspace::host().zeros<float>(blocks.count() * dim);
  for_float_types(dy.dtype(), [&]<class T>() {
    const T* from = dy.data<T>();
    parallel_blocks(blocks, [&](int64_t block, int64_t begin, int64_t end) {
      add_rows(&partial[block * dim], from + begin * dim, end - begin, dim);
    });
  });
  add_rows(db.data<float>(), partial.data(), blocks.count(), dim);
}

}  // namespace tenon::ops::cpu
