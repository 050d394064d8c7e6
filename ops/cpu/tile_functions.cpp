#include "tile_functions.h"

#include "../../runtime/cpu.h"
#include "../../runtime/simd.h"
#include "tile_kernel.h"

namespace tenon::ops::cpu {
namespace {

struct Portable;

// 16 registers of AVX2: 12 sums and two vectors of b.
TENON_CLONES void portable_product(float* c, int64_t ldc, TileLeft a, const float* b, int64_t ldb, int64_t rows,
                                   int64_t n, int64_t k, bool accumulate) {
  using Kernel = TileKernel<Portable, 8>;
  for (int64_t at = 0; at < n; at += 16) Kernel::column<6, 2>(c + at, ldc, a, b + at, ldb, rows, k, accumulate);
}

template <class T>
TENON_CLONES void portable_transpose(float* dst, const T* src, int64_t stride, int64_t rows, int64_t cols) {
  TileKernel<Portable, 8>::transpose(dst, src, stride, rows, cols);
}

constexpr TileFunctions kPortable{portable_product, portable_transpose<float>, portable_transpose<bf16>};

}  // namespace

const TileFunctions& tile_functions() { return cpu_isa() >= Isa::avx512 ? avx512::kTileFunctions : kPortable; }

}  // namespace tenon::ops::cpu
