// Matrix products on the CPU for the kernels of ops: c = beta * c + a b, each operand read plain or transposed, b
// perhaps packed.
//
// Inside a parallel region a product runs on the calling thread alone; elsewhere on all threads when it is worth it.
// Element (i, j) of c is computed by the same sums whatever m is: rows do not depend on their company.
#pragma once

#include <cstdint>

#include "../../runtime/dtype.h"
#include "../../runtime/tensor.h"

namespace tenon::ops::cpu {

/// A matrix in memory, row-major with `ld` elements from row to row. transposed: it stands for its transpose.
struct Matrix {
  const void* data;
  int64_t ld;
  bool transposed = false;
};

/// The dtype in which operands of these dtypes are multiplied here: bf16 if both are and the processor can, else f32.
DType product_dtype(DType a, DType b);

/// c[m, n] = beta * c + a[m, k] b[k, n]; a and b of dtype `in`, which is one that product_dtype gives; c f32, or bf16
/// with bf16 operands. beta is 0 or 1.
void gemm(int64_t m, int64_t n, int64_t k, DType in, const Matrix& a, const Matrix& b, void* c, DType out, int64_t ldc,
          float beta);

/// Bytes of b[k, n] packed for gemm_packed.
size_t gemm_packed_bytes(int64_t k, int64_t n, DType in);
void gemm_pack(int64_t k, int64_t n, DType in, const Matrix& b, void* packed);
void gemm_packed(int64_t m, int64_t n, int64_t k, DType in, const Matrix& a, const void* packed_b, void* c, DType out,
                 int64_t ldc, float beta);

/// x itself if it has this dtype and is contiguous, else a copy of it.
Tensor converted(const Tensor& x, DType dtype);
/// y = beta * y + x, for the results of products whose target has another dtype.
void convert_into(Tensor& y, float beta, const Tensor& x);

}  // namespace tenon::ops::cpu
