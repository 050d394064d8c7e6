// bf16 products by AMX tiles (tiles_amx.h): packing, blocking and threads around the kernel.
//
// oneDNN reaches 45 to 65 % of AMX's peak in the forward product and 25 to 30 % in the weight's gradient, and sums rows
// of small calls in another order.
#pragma once

#include "gemm.h"

namespace tenon::ops::cpu::tiles {

int64_t packed_bytes(int64_t k, int64_t n);
void pack(int64_t k, int64_t n, const Matrix& b, void* packed);
/// As gemm and gemm_packed, of bf16 operands.
void multiply_packed(int64_t m, int64_t n, int64_t k, const Matrix& a, const void* packed_b, void* c, DType out,
                     int64_t ldc, float beta);
void multiply(int64_t m, int64_t n, int64_t k, const Matrix& a, const Matrix& b, void* c, DType out, int64_t ldc,
              float beta);

}  // namespace tenon::ops::cpu::tiles
