// oneDNN's matrix product behind plain pointers. The only file that knows oneDNN, and that its versions 2 and 3 differ.
//
// Primitives are made once per problem (0.1 to 0.5 ms) and kept by each thread in a small table of its own, which costs
// less than oneDNN's cache, needs no lock, and lets the memory objects be reused. Problems must therefore come from a
// small set: gemm.h cuts row counts. A product runs on num_threads() threads, on one when it is called inside a
// parallel region or asks for it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../../runtime/dtype.h"

namespace tenon::ops::cpu::onednn {

/// c[m, n] = (accumulate ? c : 0) + a[m, k] b[k, n]. Leading dimensions are strides, in elements, of the matrix as it
/// lies in memory.
struct Product {
  int64_t m = 0, n = 0, k = 0;
  int64_t lda = 0, ldb = 0, ldc = 0;
  DType in = DType::f32, out = DType::f32;
  bool trans_a = false, trans_b = false;
  bool packed_b = false;  // b was written by pack(): ldb and trans_b say nothing
  bool accumulate = false;
  bool one_thread = false;

  bool operator==(const Product&) const = default;
};

/// Throws Error with oneDNN's text when it refuses.
void multiply(const Product& product, const void* a, const void* b, void* c);

/// Bytes of b `[k, n]` in the layout that oneDNN likes best for it, whatever the number of rows of a.
size_t packed_bytes(int64_t k, int64_t n, DType dtype);

/// Writes b, `[k, n]` or with trans_b `[n, k]` in memory, into that layout at `packed` (64-byte aligned).
void pack(int64_t k, int64_t n, DType dtype, const void* b, int64_t ldb, bool trans_b, void* packed);

}  // namespace tenon::ops::cpu::onednn
