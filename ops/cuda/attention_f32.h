// Tiles of f32 rows in shared memory and products of them by plain multiply-adds, for attention in f32. A block is 16
// groups of 8 lanes; a group has kR rows of the block's own tile and meets 32 rows of the other side at a time.
#pragma once

#include <cstdint>

#include "vectors.h"

namespace tenon::ops::cuda::f32 {

inline constexpr int kThreads = 128, kLanes = 8, kOther = 32;
template <int kR>
inline constexpr int kOwn = kThreads / kLanes* kR;
/// Elements from row to row: eight rows begin in different banks, for accesses of 16 bytes.
template <int kDim>
inline constexpr int kStride = kDim + 4;
inline constexpr int kWeightStride = kOther + 4;

/// Copies a tile of kRows rows; zeros stand in for rows from `rows` and columns from `columns` on.
template <int kRows, int kDim>
__device__ void load_tile(float* tile, const float* from, int64_t stride, int rows, int columns) {
  for (int i = static_cast<int>(threadIdx.x); i < kRows * kDim; i += kThreads) {
    const int row = i / kDim, column = i % kDim;
    tile[row * kStride<kDim> + column] = row < rows && column < columns ? from[row * stride + column] : 0.0f;
  }
}

__device__ inline float4 load4(const float* p) { return *reinterpret_cast<const float4*>(p); }

/// score[r][c]: the group's row r of tile `own` times row lane + 8 c of tile `other`.
template <int kDim, int kR>
__device__ void dot_rows(float (&score)[kR][4], const float* own, const float* other) {
  const int group = static_cast<int>(threadIdx.x) / kLanes, lane = static_cast<int>(threadIdx.x) % kLanes;
  own += group * kR * kStride<kDim>;
  other += lane * kStride<kDim>;
#pragma unroll
  for (int r = 0; r < kR; ++r)
#pragma unroll
    for (int c = 0; c < 4; ++c) score[r][c] = 0;
#pragma unroll 2
  for (int d = 0; d < kDim; d += 4) {
    float4 b[4];
#pragma unroll
    for (int c = 0; c < 4; ++c) b[c] = load4(other + c * kLanes * kStride<kDim> + d);
#pragma unroll
    for (int r = 0; r < kR; ++r) {
      const float4 a = load4(own + r * kStride<kDim> + d);
#pragma unroll
      for (int c = 0; c < 4; ++c)
        score[r][c] = fmaf(a.w, b[c].w, fmaf(a.z, b[c].z, fmaf(a.y, b[c].y, fmaf(a.x, b[c].x, score[r][c]))));
    }
  }
}

/// The group's rows of weights [own rows, kOther], which all of its lanes have written.
template <int kR>
__device__ void store_weights(float* weights, const float (&score)[kR][4]) {
  const int group = static_cast<int>(threadIdx.x) / kLanes, lane = static_cast<int>(threadIdx.x) % kLanes;
#pragma unroll
  for (int r = 0; r < kR; ++r)
#pragma unroll
    for (int c = 0; c < 4; ++c) weights[(group * kR + r) * kWeightStride + lane + c * kLanes] = score[r][c];
}

/// sums[r][i][e] += weights[r] times column 4 lane + 32 i + e of tile `other`.
template <int kDim, int kR>
__device__ void add_rows(float (&sums)[kR][kDim / 32][4], const float* weights, const float* other) {
  const int group = static_cast<int>(threadIdx.x) / kLanes, lane = static_cast<int>(threadIdx.x) % kLanes;
  weights += group * kR * kWeightStride;
#pragma unroll 1
  for (int j = 0; j < kOther; ++j) {
    float w[kR];
#pragma unroll
    for (int r = 0; r < kR; ++r) w[r] = weights[r * kWeightStride + j];
#pragma unroll
    for (int i = 0; i < kDim / 32; ++i) {
      const float4 x = load4(other + j * kStride<kDim> + lane * 4 + i * 32);
#pragma unroll
      for (int r = 0; r < kR; ++r) {
        sums[r][i][0] = fmaf(w[r], x.x, sums[r][i][0]), sums[r][i][1] = fmaf(w[r], x.y, sums[r][i][1]);
        sums[r][i][2] = fmaf(w[r], x.z, sums[r][i][2]), sums[r][i][3] = fmaf(w[r], x.w, sums[r][i][3]);
      }
    }
  }
}

/// Writes the group's sums times factor(r) to those of `rows` rows and `columns` columns that there are.
template <int kDim, int kR, class F>
__device__ void store_sums(const float (&sums)[kR][kDim / 32][4], F factor, float* to, int64_t stride, int rows,
                           int columns) {
  const int group = static_cast<int>(threadIdx.x) / kLanes, lane = static_cast<int>(threadIdx.x) % kLanes;
#pragma unroll
  for (int r = 0; r < kR; ++r) {
    const int row = group * kR + r;
    const float f = factor(r);
#pragma unroll
    for (int i = 0; i < kDim / 32; ++i)
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int column = lane * 4 + i * 32 + e;
        if (row < rows && column < columns) to[row * stride + column] = sums[r][i][e] * f;
      }
  }
}

}  // namespace tenon::ops::cuda::f32
