// Softmax over keys that come in tiles, for a warp's 16 queries (Milakov & Gimelshein 2018, arXiv 1805.02867), on the
// accumulators of mma_m16n8k16: a lane has rows lane / 4 and lane / 4 + 8, and of each tile of 8 keys two neighbours.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

#include "../../runtime/cuda/launch.h"
#include "ptx.h"

namespace tenon::ops::cuda {

struct SoftmaxRows {
  float largest[2] = {-INFINITY, -INFINITY};  // score so far, in base 2
  float total[2] = {0, 0};                    // of this lane's weights relative to it
};

__device__ inline uint32_t pack_bf16(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&pair);
}

/// score[j][e] with visible(row 0 or 1, key in the tile), else -inf; times `scale`.
template <int kTiles, class Visible>
__device__ void scale_and_mask(float (&score)[kTiles][4], float scale, Visible visible) {
  const int column = threadIdx.x % 4 * 2;
#pragma unroll
  for (int j = 0; j < kTiles; ++j)
#pragma unroll
    for (int e = 0; e < 4; ++e) score[j][e] = visible(e / 2, j * 8 + column + e % 2) ? score[j][e] * scale : -INFINITY;
}

/// The largest of each row's scores, over the four lanes that share it.
template <int kTiles>
__device__ void row_maxima(const float (&score)[kTiles][4], float (&largest)[2]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float most = score[0][half * 2];
#pragma unroll
    for (int j = 0; j < kTiles; ++j) most = fmaxf(most, fmaxf(score[j][half * 2], score[j][half * 2 + 1]));
    for (int lanes = 1; lanes < 4; lanes *= 2) most = fmaxf(most, __shfl_xor_sync(0xFFFFFFFFu, most, lanes));
    largest[half] = most;
  }
}

/// Scores become weights, with bf16 pairs of row lane / 4 in weight[j][0] and of lane / 4 + 8 in weight[j][1]: two
/// neighbouring j are an operand of the product with 16 values. The totals are of the rounded weights. What was summed
/// before is to be multiplied by `factor`. `most`: the tile's maxima.
template <int kTiles>
__device__ void add_scores(const float (&score)[kTiles][4], const float (&most)[2], SoftmaxRows& rows,
                           uint32_t (&weight)[kTiles][2], float (&factor)[2]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float largest = fmaxf(rows.largest[half], most[half]);
    const float shift = largest == -INFINITY ? 0 : largest;
    factor[half] = ptx::exp2_approx(rows.largest[half] - shift);
    rows.largest[half] = largest;
    float total = rows.total[half] * factor[half];
#pragma unroll
    for (int j = 0; j < kTiles; ++j) {
      const uint32_t pair =
          pack_bf16(ptx::exp2_approx(score[j][half * 2] - shift), ptx::exp2_approx(score[j][half * 2 + 1] - shift));
      weight[j][half] = pair;
      total += __uint_as_float(pair << 16) + __uint_as_float(pair & 0xFFFF0000u);
    }
    rows.total[half] = total;
  }
}

/// Each row's total over the four lanes that share it.
__device__ inline void finish_totals(SoftmaxRows& rows) {
#pragma unroll
  for (int half = 0; half < 2; ++half)
    for (int lanes = 1; lanes < 4; lanes *= 2)
      rows.total[half] += __shfl_xor_sync(0xFFFFFFFFu, rows.total[half], lanes);
}

}  // namespace tenon::ops::cuda
