// Tiles of bf16 rows in shared memory and products of them on the tensor cores, as attention's kernels use them.
//
// Rows in shared memory are 16 bytes longer than their columns: with column counts that are multiples of 16, the eight
// rows that one ldmatrix phase reads begin in different banks. Accumulators are float[m][n][4]: 16 rows a step of m, 8
// columns a step of n; element e is of row lane / 4 + 8 (e / 2) and column lane % 4 * 2 + e % 2.
#pragma once

#include <cuda_bf16.h>

#include "ptx.h"
#include "vectors.h"

namespace tenon::ops::cuda {

/// Elements from row to row of a tile in shared memory.
template <int kColumns>
inline constexpr int kTileStride = kColumns + 8;

__device__ inline uint32_t pack_bf16(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&pair);
}
__device__ inline float low_bf16(uint32_t pair) { return __uint_as_float(pair << 16); }
__device__ inline float high_bf16(uint32_t pair) { return __uint_as_float(pair & 0xFFFF0000u); }

/// Begins the copy of a tile of kRows rows; zeros stand in for rows from `rows` and columns from `columns` on. The loop
/// over rows stays one: unrolled, its addresses would take the registers of accumulators.
template <int kRows, int kColumns, int kThreads>
__device__ void load_tile(bf16* tile, const bf16* from, int64_t stride, int rows, int columns) {
  constexpr int kLanes = kColumns % 64 == 0 ? 8 : 4, kStep = kThreads / kLanes;  // threads on a row, rows at a time
  static_assert(kColumns % (kLanes * 8) == 0 && kRows % kStep == 0);
  const int thread = ptx::opaque(static_cast<int>(threadIdx.x));
  int row = thread / kLanes;
  const int first = thread % kLanes * 8;
  from += row * stride + first;
  tile += row * kTileStride<kColumns> + first;
#pragma unroll 1
  for (; row < kRows; row += kStep, from += kStep * stride, tile += kStep * kTileStride<kColumns>)
#pragma unroll
    for (int column = 0; column < kColumns; column += kLanes * 8)
      ptx::cp_async_16(tile + column, from + column, row < rows && first + column < columns);
}

/// acc += A B^T for kM * 16 rows of tile A and kN * 8 rows of tile B, both of kDepth columns.
template <int kDepth, int kM, int kN>
__device__ void multiply_rows(float (&acc)[kM][kN][4], const bf16* a, const bf16* b) {
  constexpr int kStride = kTileStride<kDepth>;
  const int lane = threadIdx.x % 32;
  a += lane % 16 * kStride + lane / 16 * 8;
  b += (lane / 16 * 8 + lane % 8) * kStride + lane / 8 % 2 * 8;
#pragma unroll
  for (int d = 0; d < kDepth; d += 16) {
    uint32_t fa[kM][4];
#pragma unroll
    for (int m = 0; m < kM; ++m) ptx::ldmatrix_x4(fa[m], a + m * 16 * kStride + d);
#pragma unroll
    for (int n = 0; n < kN; n += 2) {
      uint32_t fb[4];
      ptx::ldmatrix_x4(fb, b + n * 8 * kStride + d);
#pragma unroll
      for (int m = 0; m < kM; ++m) {
        ptx::mma_m16n8k16(acc[m][n], fa[m], fb[0], fb[1]);
        ptx::mma_m16n8k16(acc[m][n + 1], fa[m], fb[2], fb[3]);
      }
    }
  }
}

/// acc += A B for fragments of A and kK * 16 rows of tile B, of kColumns columns.
template <int kColumns, int kM, int kK, int kN>
__device__ void multiply_columns(float (&acc)[kM][kN][4], const uint32_t (&a)[kM][kK][4], const bf16* b) {
  static_assert(kColumns <= kN * 8);
  constexpr int kStride = kTileStride<kColumns>;
  const int lane = threadIdx.x % 32;
  b += lane % 16 * kStride + lane / 16 * 8;
#pragma unroll
  for (int k = 0; k < kK; ++k) {
#pragma unroll
    for (int n = 0; n < kColumns / 8; n += 2) {
      uint32_t fb[4];
      ptx::ldmatrix_x4_trans(fb, b + k * 16 * kStride + n * 8);
#pragma unroll
      for (int m = 0; m < kM; ++m) {
        ptx::mma_m16n8k16(acc[m][n], a[m][k], fb[0], fb[1]);
        ptx::mma_m16n8k16(acc[m][n + 1], a[m][k], fb[2], fb[3]);
      }
    }
  }
}

/// Scores of row r and column c become `hidden` unless r - below <= c <= r + above and c < end. `row` and `column` are
/// the first ones.
template <int kM, int kN>
__device__ void hide(float (&score)[kM][kN][4], float hidden, int row, int column, int below, int above, int end) {
  const int lane = threadIdx.x % 32, own = column + lane % 4 * 2;
#pragma unroll
  for (int m = 0; m < kM; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int r = row + m * 16 + half * 8 + lane / 4;
      const int first = r - below - own, last = min(r + above, end - 1) - own;
#pragma unroll
      for (int n = 0; n < kN; ++n)
#pragma unroll
        for (int e = 0; e < 2; ++e)
          if (n * 8 + e < first || n * 8 + e > last) score[m][n][half * 2 + e] = hidden;
    }
}

/// Accumulators as the A operand of the next product: the layouts are the same.
template <int kM, int kN>
__device__ void as_operand(uint32_t (&fragments)[kM][kN / 2][4], const float (&acc)[kM][kN][4]) {
#pragma unroll
  for (int m = 0; m < kM; ++m)
#pragma unroll
    for (int k = 0; k < kN / 2; ++k)
#pragma unroll
      for (int r = 0; r < 4; ++r)
        fragments[m][k][r] = pack_bf16(acc[m][2 * k + r / 2][r % 2 * 2], acc[m][2 * k + r / 2][r % 2 * 2 + 1]);
}

/// Writes the first kColumns columns of a warp's accumulators times factor(m, half) to `rows` rows of `columns`
/// columns, 16 bytes an access, by way of `staging`: kM * 16 rows of a tile of kStagedColumns, which the warp has for
/// itself.
template <int kColumns, int kStagedColumns, int kM, int kN, class F>
__device__ void store_rows(const float (&acc)[kM][kN][4], F factor, bf16* staging, bf16* to, int64_t stride, int rows,
                           int columns) {
  static_assert(kColumns <= kStagedColumns);
  constexpr int kStride = kTileStride<kStagedColumns>, kChunks = kColumns / 8;
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int m = 0; m < kM; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float f = factor(m, half);
      bf16* row = staging + (m * 16 + half * 8 + lane / 4) * kStride + lane % 4 * 2;
#pragma unroll
      for (int n = 0; n < kColumns / 8; ++n)
        *reinterpret_cast<uint32_t*>(row + n * 8) = pack_bf16(acc[m][n][half * 2] * f, acc[m][n][half * 2 + 1] * f);
    }
  __syncwarp();
  for (int i = lane; i < kM * 16 * kChunks; i += 32) {
    const int row = i / kChunks, column = i % kChunks * 8;
    if (row < rows && column < columns) store(to + row * stride + column, load<8>(staging + row * kStride + column));
  }
}

}  // namespace tenon::ops::cuda
