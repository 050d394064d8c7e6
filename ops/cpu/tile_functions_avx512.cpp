#include "tile_kernel.h"

namespace tenon::ops::cpu::avx512 {
namespace {

struct Avx512;

// 32 registers: 24 sums, the vectors of b, and broadcasts of a straight from memory.
void product(float* c, int64_t ldc, TileLeft a, const float* b, int64_t ldb, int64_t rows, int64_t n, int64_t k,
             bool accumulate) {
  using Kernel = TileKernel<Avx512, 16>;
  int64_t at = 0;
  for (; at + 64 <= n; at += 64) Kernel::column<6, 4>(c + at, ldc, a, b + at, ldb, rows, k, accumulate);
  for (; at + 32 <= n; at += 32) Kernel::column<12, 2>(c + at, ldc, a, b + at, ldb, rows, k, accumulate);
  for (; at < n; at += 16) Kernel::column<12, 1>(c + at, ldc, a, b + at, ldb, rows, k, accumulate);
}

template <class T>
void transpose(float* dst, const T* src, int64_t stride, int64_t rows, int64_t cols) {
  TileKernel<Avx512, 16>::transpose(dst, src, stride, rows, cols);
}

}  // namespace

const TileFunctions kTileFunctions{product, transpose<float>, transpose<bf16>};

}  // namespace tenon::ops::cpu::avx512
