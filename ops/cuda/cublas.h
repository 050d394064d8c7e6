// Dense products by cuBLASLt, row-major, with plans kept by shape. The one wrapper of the library: the tests' emulation
// has a file of its own behind it.
#pragma once

#include "../../runtime/tensor.h"

namespace tenon::ops::cuda {

/// One matrix of a product, or `step` elements apart one for each of the batch.
struct Operand {
  const void* data;
  int64_t ld;               // elements from row to row, as stored
  bool transposed = false;  // stored [k, m] or [n, k]
  int64_t step = 0;
};

struct Product {
  int64_t m, n, k, batch = 1;
  DType operands;  // of a and b: f32 (no TF32) or bf16; sums are f32
  DType result;    // f32, or bf16 with bf16 operands
  float beta = 0;  // 0 or 1
};

/// c[m, n] = beta * c + a[m, k] b[k, n], and bias[n] of c's dtype is added to each row unless it is null. c has rows of
/// n elements and matrices of m * n. Bits do not depend on anything but the arguments and the GPU; unlike on the CPU,
/// rows may differ in the last bits from what fewer or more rows would give.
void multiply(const Product& product, const Operand& a, const Operand& b, void* c, const void* bias = nullptr);

}  // namespace tenon::ops::cuda
