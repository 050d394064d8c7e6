#include "tile_product.h"

#include "../../runtime/cpu.h"
#include "../../runtime/simd.h"
#include "tile_product_kernel.h"

namespace tenon::ops::cpu {
namespace {

struct Portable;

// 16 registers of AVX2: 12 sums and two vectors of b.
TENON_CLONES void portable_product(float* c, int64_t ldc, TileLeft a, const float* b, int64_t ldb, int64_t rows,
                                   int64_t n, int64_t k, bool accumulate) {
  using Kernel = TileKernel<Portable, 8>;
  for (int64_t at = 0; at < n; at += 16) Kernel::column<6, 2>(c + at, ldc, a, b + at, ldb, rows, k, accumulate);
}

}  // namespace

TileProduct tile_product() {
  static const TileProduct product = cpu_isa() >= Isa::avx512 ? avx512::tile_product : portable_product;
  return product;
}

}  // namespace tenon::ops::cpu
