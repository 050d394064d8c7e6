// Products of small f32 tiles, the inner loop of attention, and the transposes that feed them:  c[r, n] = (accumulate ?
// c[r, n] : 0) + sum_k a[r, k] * b[k, n].
//
// Every c[r, n] is one chain of multiply-adds in rising k, whatever stands beside it: a row's bits depend on nothing
// but that row of a and on b. A zero in a leaves its sum as it is.
#pragma once

#include <cstdint>

#include "../../runtime/dtype.h"

namespace tenon::ops::cpu {

constexpr int64_t kTileWidth = 16;  // n is a multiple of this; rows of b and c are padded to it

constexpr int64_t pad_to_tile(int64_t n) { return (n + kTileWidth - 1) / kTileWidth * kTileWidth; }

/// One operand: element (r, k) of a stands at data[r * row_stride + k * k_stride], so a transposed tile needs no copy.
struct TileLeft {
  const float* data;
  int64_t row_stride;
  int64_t k_stride = 1;
};

/// dst `[cols, 64]` = src `[rows, cols]` transposed, its rows `stride` apart and at most 64; lanes beyond `rows` become
/// 0.
template <class T>
using TileTranspose = void (*)(float* dst, const T* src, int64_t stride, int64_t rows, int64_t cols);

/// The tile functions of one instruction set.
struct TileFunctions {
  void (*product)(float* c, int64_t ldc, TileLeft a, const float* b, int64_t ldb, int64_t rows, int64_t n, int64_t k,
                  bool accumulate);
  TileTranspose<float> transpose_f32;
  TileTranspose<bf16> transpose_bf16;

  void transpose(float* dst, const float* src, int64_t stride, int64_t rows, int64_t cols) const {
    transpose_f32(dst, src, stride, rows, cols);
  }
  void transpose(float* dst, const bf16* src, int64_t stride, int64_t rows, int64_t cols) const {
    transpose_bf16(dst, src, stride, rows, cols);
  }
};

/// Those for this processor.
const TileFunctions& tile_functions();

namespace avx512 {
extern const TileFunctions kTileFunctions;
}

}  // namespace tenon::ops::cpu
