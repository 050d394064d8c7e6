// f32 products without AVX-512: panels of 16 columns, 6 rows at a time in registers.
//
// There oneDNN takes other kernels for few rows than for many, and rows would not have the same bits in both. Here
// every element is one chain of multiply-adds along k.
#pragma once

#include "gemm.h"

namespace tenon::ops::cpu::panels {

int64_t packed_bytes(int64_t k, int64_t n);
void pack(int64_t k, int64_t n, const Matrix& b, void* packed);
/// As gemm and gemm_packed, of f32 operands.
void multiply_packed(int64_t m, int64_t n, int64_t k, const Matrix& a, const void* packed_b, float* c, int64_t ldc,
                     float beta);
void multiply(int64_t m, int64_t n, int64_t k, const Matrix& a, const Matrix& b, float* c, int64_t ldc, float beta);

}  // namespace tenon::ops::cpu::panels
