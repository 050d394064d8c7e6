#include "matmul.h"

#include "../../runtime/threads.h"
#include "gemm.h"

namespace tenon::ops::cpu {
namespace {

// Multiply-adds of a product from which on all threads share it; below, each thread takes products of its own.
constexpr int64_t kShared = 4'000'000;

/// x in the dtype of the product and dense, but that the matrices of a rank of 3 may stand apart. Their own rows must
/// not: oneDNN chooses kernels by that and the number of rows, and sums in another order then.
Tensor readable(const Tensor& x, DType dtype) {
  const bool in_place = x.dtype() == dtype && x.rank() == 3 && x.stride(2) == 1 && x.stride(1) == x.dim(2);
  return in_place ? x : converted(x, dtype);
}

int64_t matrix_step(const Tensor& x) { return x.rank() == 3 ? x.stride(0) : x.dim(-2) * x.dim(-1); }

void multiply(Tensor& c, const Tensor& a, const Tensor& b, DType product, bool trans_a, bool trans_b, float beta) {
  const int64_t k = a.dim(trans_a ? -2 : -1), n = c.dim(-1), lda = a.dim(-1), ldb = b.dim(-1);
  int64_t m = c.dim(-2), batch = c.numel() / (m * n);
  if (a.rank() > 2 && b.rank() == 2 && !trans_a && a.is_contiguous())
    m *= batch, batch = 1;  // rows of all of a's matrices follow each other
  const int64_t item = static_cast<int64_t>(size_of(product));
  const int64_t a_step = batch == 1 || a.rank() == 2 ? 0 : item * matrix_step(a);
  const int64_t b_step = batch == 1 || b.rank() == 2 ? 0 : item * matrix_step(b);
  const int64_t c_step = m * n * static_cast<int64_t>(size_of(c.dtype()));
  const auto one = [&](int64_t i) {
    gemm(m, n, k, product, {static_cast<const char*>(a.raw()) + i * a_step, lda, trans_a},
         {static_cast<const char*>(b.raw()) + i * b_step, ldb, trans_b}, static_cast<char*>(c.raw()) + i * c_step,
         c.dtype(), n, beta);
  };
  if (m * n * k >= kShared || batch * m * n * k < kShared / 32) {
    for (int64_t i = 0; i < batch; ++i) one(i);
  } else {
    parallel_each(batch, one);
  }
}

}  // namespace

void matmul(Tensor& c, const Tensor& a_in, const Tensor& b_in, bool trans_a, bool trans_b, float beta) {
  if (c.numel() == 0) return;
  const DType product = product_dtype(a_in.dtype(), b_in.dtype());
  const Tensor a = readable(a_in, product), b = readable(b_in, product);
  if (c.dtype() == DType::f32 || product == DType::bf16) {
    multiply(c, a, b, product, trans_a, trans_b, beta);
  } else {
    Tensor wide = Tensor::empty(c.shape(), DType::f32);
    multiply(wide, a, b, product, trans_a, trans_b, 0);
    convert_into(c, beta, wide);
  }
}

}  // namespace tenon::ops::cpu
