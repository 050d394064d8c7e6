// Products of small f32 tiles, the inner loop of attention:  c[r, n] = (accumulate ? c[r, n] : 0) + sum_k a[r, k] *
// b[k, n].
//
// Every c[r, n] is one chain of multiply-adds in rising k, whatever stands beside it: a row's bits depend on nothing
// but that row of a and on b. A zero in a leaves its sum as it is.
#pragma once

#include <cstdint>

namespace tenon::ops::cpu {

constexpr int64_t kTileWidth = 16;  // n is a multiple of this; rows of b and c are padded to it

constexpr int64_t pad_to_tile(int64_t n) { return (n + kTileWidth - 1) / kTileWidth * kTileWidth; }

/// One operand: element (r, k) of a stands at data[r * row_stride + k * k_stride], so a transposed tile needs no copy.
struct TileLeft {
  const float* data;
  int64_t row_stride;
  int64_t k_stride = 1;
};

using TileProduct = void (*)(float* c, int64_t ldc, TileLeft a, const float* b, int64_t ldb, int64_t rows, int64_t n,
                             int64_t k, bool accumulate);

/// The product for this processor, chosen once.
TileProduct tile_product();

namespace avx512 {
void tile_product(float* c, int64_t ldc, TileLeft a, const float* b, int64_t ldb, int64_t rows, int64_t n, int64_t k,
                  bool accumulate);
}

}  // namespace tenon::ops::cpu
