#include "matmul.h"

#include "cublas.h"
#include "product_operand.h"

namespace tenon::ops::cuda {
namespace {

/// x itself where it is a view of rank 3 whose matrices are each dense, else dense as a whole.
Tensor readable(const Tensor& x, DType dtype) {
  const bool in_place = x.dtype() == dtype && x.rank() == 3 && x.stride(2) == 1 && x.stride(1) == x.dim(2);
  return in_place ? x : operand(x, dtype);
}

/// Elements from one matrix of the batch to the next; none where all share one.
int64_t step_of(const Tensor& x, int64_t batch) {
  if (batch == 1 || x.rank() == 2) return 0;
  return x.rank() == 3 ? x.stride(0) : x.dim(-2) * x.dim(-1);
}

}  // namespace

void matmul(Tensor& c, const Tensor& a_in, const Tensor& b_in, bool trans_a, bool trans_b, float beta) {
  if (c.numel() == 0) return;
  const DType dtype = product_dtype(a_in.dtype(), b_in.dtype());
  const Tensor a = readable(a_in, dtype), b = readable(b_in, dtype);
  Product product{.m = c.dim(-2),
                  .n = c.dim(-1),
                  .k = a.dim(trans_a ? -2 : -1),
                  .operands = dtype,
                  .result = c.dtype(),
                  .beta = beta};
  product.batch = c.numel() / (product.m * product.n);
  if (a.rank() > 2 && b.rank() == 2 && !trans_a && a.is_contiguous()) {
    product.m *= product.batch;  // rows of all of a's matrices follow each other
    product.batch = 1;
  }
  multiply(product, {a.raw(), a.dim(-1), trans_a, step_of(a, product.batch)},
           {b.raw(), b.dim(-1), trans_b, step_of(b, product.batch)}, c.raw());
}

}  // namespace tenon::ops::cuda
