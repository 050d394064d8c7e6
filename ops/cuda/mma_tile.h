// One tile of a product of bf16 matrices, made by one block on tensor cores: c[m, n] = sum over d of a[m, d] b[n, d]
// with float sums. Either operand may be stored with d along its rows or across them.
//
//   float sum[Tile::kSteps][Tile::kColumnSteps][4] = {};
//   multiply_tile<Tile, false, true, true>(a, b, depth, sum);
//   const float* c = stage_sums<Tile>(sum);           // [kM, kStaged] in shared memory
//
// Operands pass through shared memory in stages of 64 of d: while a stage is multiplied, the next ones are on their way
// (cp.async), 128 bytes of each row at a time; memory is asked for 256, of which the next stage finds the other half in
// the cache. A stage's rows of 16-byte pieces are stored with the piece's number xor the row's last three bits, so
// that the eight rows of an ldmatrix lie in different banks whichever way it goes. Each element is summed over d in
// steps of 16 in order whatever the tile: its bits do not depend on the tile's size.
#pragma once

#include <algorithm>

#include "ptx.h"
#include "vectors.h"

namespace tenon::ops::cuda {

inline constexpr int kDepth = 64;

/// Blocks of kWarpsM x kWarpsN warps, kBlocks of them at once on a processor.
template <int kRows, int kColumns, int kWarpsM, int kWarpsN, int kStageCount, int kBlockCount>
struct MmaTile {
  static constexpr int kM = kRows, kN = kColumns, kStages = kStageCount, kBlocks = kBlockCount;
  static constexpr int kThreads = kWarpsM * kWarpsN * 32;
  static constexpr int kWarpM = kM / kWarpsM, kWarpN = kN / kWarpsN, kAcross = kWarpsN;
  static constexpr int kSteps = kWarpM / 16, kColumnSteps = kWarpN / 8;  // of mma
  static constexpr int kStaged = kN + 8;  // floats a row: eight rows of two floats a lane meet no bank twice
  static constexpr size_t kSharedBytes =
      std::max(sizeof(bf16) * kStages * (kM + kN) * kDepth, sizeof(float) * kM * kStaged);
  static_assert(kWarpM % 16 == 0 && kWarpN % 16 == 0);
};

struct MmaOperand {
  const bf16* data;  // element (0, 0) of the tile
  int ld;            // from row to row as stored
  int size;          // rows or columns of the product that there are; zeros behind them
};

namespace detail {

/// The 16-byte piece of a stage with elements (s, d ...), or (s ..., d) where it is stored across.
template <int kSize, bool kAcross, class T>
__device__ T* piece_of(T* stage, int s, int d) {
  constexpr int kPieces = (kAcross ? kSize : kDepth) / 8;
  static_assert(kPieces % 8 == 0);
  const int row = kAcross ? d : s, piece = (kAcross ? s : d) / 8;
  return stage + (row * kPieces + (piece ^ (row & 7))) * 8;
}

/// Elements [0, kSize) x [d0, d0 + kDepth) of an operand, the part-th kParts-th of this thread's pieces. kPieces: its
/// rows are 16-byte pieces, aligned.
template <int kSize, bool kAcross, bool kPieces, int kThreads, int kParts>
__device__ void load_stage(bf16* stage, const MmaOperand& x, int d0, int depth, int part) {
  constexpr int kRow = (kAcross ? kSize : kDepth) / 8, kCount = kSize * kDepth / 8, kOwn = kCount / kThreads;
  static_assert(kCount % kThreads == 0);
  const bf16* first = x.data + (kAcross ? int64_t{d0} * x.ld : d0);
#pragma unroll
  for (int i = part * kOwn / kParts; i < (part + 1) * kOwn / kParts; ++i) {
    const int p = i * kThreads + static_cast<int>(threadIdx.x);
    const int s = kAcross ? p % kRow * 8 : p / kRow, d = kAcross ? p / kRow : p % kRow * 8;
    bf16* to = piece_of<kSize, kAcross>(stage, s, d);
    const bool inside = s < x.size && d0 + d < depth;
    const bf16* from = first + (kAcross ? d * x.ld + s : s * x.ld + d);
    if constexpr (kPieces) {
      ptx::cp_async_16_in_order(to, inside ? from : x.data, inside);
    } else {
      Pack<bf16, 8> piece{};
#pragma unroll
      for (int k = 0; k < 8; ++k)
        if (inside && (kAcross ? s + k < x.size : d0 + d + k < depth)) piece.value[k] = from[k];
      store(to, piece);
    }
  }
}

}  // namespace detail

/// sum += the tile's product over [0, depth). kAcrossA, kAcrossB: stored [d, m] and [d, n].
template <class Tile, bool kAcrossA, bool kAcrossB, bool kPieces>
__device__ void multiply_tile(const MmaOperand& a, const MmaOperand& b, int depth,
                              float (&sum)[Tile::kSteps][Tile::kColumnSteps][4]) {
  constexpr int kStages = Tile::kStages, kStepsM = Tile::kSteps, kPairsN = Tile::kColumnSteps / 2;
  bf16* stages_a = dynamic_shared<bf16>();
  bf16* stages_b = stages_a + kStages * Tile::kM * kDepth;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int m0 = warp / Tile::kAcross * Tile::kWarpM, n0 = warp % Tile::kAcross * Tile::kWarpN;
  const int steps = (depth + kDepth - 1) / kDepth;
  const bool idle = m0 >= a.size || n0 >= b.size;  // a warp whose part is all zeros leaves the tensor cores to others

  constexpr int kParts = kDepth / 16;
  const auto load_part = [&](int step, int part) {
    if (step >= steps) return;
    const int stage = step % kStages;
    detail::load_stage<Tile::kM, kAcrossA, kPieces, Tile::kThreads, kParts>(stages_a + stage * Tile::kM * kDepth, a,
                                                                            step * kDepth, depth, part);
    detail::load_stage<Tile::kN, kAcrossB, kPieces, Tile::kThreads, kParts>(stages_b + stage * Tile::kN * kDepth, b,
                                                                            step * kDepth, depth, part);
  };
  // Registers hold the operands of two steps of 16, so that one is read while the other is multiplied.
  uint32_t fa[2][kStepsM][4], fb[2][kPairsN][4];
  const auto read = [&](int stage, int d, int into) {
    const bf16* stage_a = stages_a + stage * Tile::kM * kDepth;
    const bf16* stage_b = stages_b + stage * Tile::kN * kDepth;
#pragma unroll
    for (int i = 0; i < kStepsM; ++i) {
      const int m = m0 + i * 16;
      if constexpr (kAcrossA)
        ptx::ldmatrix_x4_trans(
            fa[into][i], detail::piece_of<Tile::kM, true>(stage_a, m + lane / 8 % 2 * 8, d + lane / 16 * 8 + lane % 8));
      else
        ptx::ldmatrix_x4(fa[into][i], detail::piece_of<Tile::kM, false>(stage_a, m + lane % 16, d + lane / 16 * 8));
    }
#pragma unroll
    for (int j = 0; j < kPairsN; ++j) {
      const int n = n0 + j * 16;
      if constexpr (kAcrossB)
        ptx::ldmatrix_x4_trans(fb[into][j],
                               detail::piece_of<Tile::kN, true>(stage_b, n + lane / 16 * 8, d + lane % 16));
      else
        ptx::ldmatrix_x4(fb[into][j], detail::piece_of<Tile::kN, false>(stage_b, n + lane / 16 * 8 + lane % 8,
                                                                        d + lane / 8 % 2 * 8));
    }
  };

  const auto multiply = [&](int from) {
#pragma unroll
    for (int i = 0; i < kStepsM; ++i)
#pragma unroll
      for (int j = 0; j < Tile::kColumnSteps; ++j)
        ptx::mma_m16n8k16(sum[i][j], fa[from][i], fb[from][j / 2][j % 2 * 2], fb[from][j / 2][j % 2 * 2 + 1]);
  };

  if (steps == 0) return;
#pragma unroll
  for (int step = 0; step < kStages - 1; ++step) {
#pragma unroll
    for (int part = 0; part < kParts; ++part) load_part(step, part);
    ptx::cp_async_commit();
  }
  ptx::cp_async_wait<kStages - 2>();
  __syncthreads();  // the first stage is there for all
  if (!idle) read(0, 0, 0);
  load_part(kStages - 1, 0);
  // A stage's four steps of 16. The copies of the stage that is kStages - 1 ahead go between them, so that they do not
  // stand in the way all at once; before the last step all warps have read what they need of this stage, and the first
  // operands of the next one are read while the last are multiplied.
  for (int step = 0; step < steps; ++step) {
#pragma unroll
    for (int d = 0; d + 1 < kParts; ++d) {
      if (!idle) read(step % kStages, (d + 1) * 16, (d + 1) % 2);
      load_part(step + kStages - 1, d + 1);
      if (!idle) multiply(d % 2);
    }
    ptx::cp_async_commit();
    ptx::cp_async_wait<kStages - 2>();
    __syncthreads();  // the next stage is there for all, and this one has been read by all
    if (!idle && step + 1 < steps) read((step + 1) % kStages, 0, 0);
    load_part(step + kStages, 0);
    if (!idle) multiply((kParts - 1) % 2);
  }
}

/// The sums in shared memory, [kM, kStaged], for the whole block: what is stored from there goes in whole lines.
template <class Tile>
__device__ const float* stage_sums(const float (&sum)[Tile::kSteps][Tile::kColumnSteps][4]) {
  float* staged = dynamic_shared<float>();
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int m0 = warp / Tile::kAcross * Tile::kWarpM + lane / 4,
            n0 = warp % Tile::kAcross * Tile::kWarpN + lane % 4 * 2;
  ptx::cp_async_wait<0>();
  __syncthreads();  // the operands have been read
#pragma unroll
  for (int i = 0; i < Tile::kSteps; ++i)
#pragma unroll
    for (int j = 0; j < Tile::kColumnSteps; ++j)
#pragma unroll
      for (int half = 0; half < 2; ++half)
        store<2>(staged + (m0 + i * 16 + half * 8) * Tile::kStaged + n0 + j * 8,
                 [&](int k) { return sum[i][j][half * 2 + k]; });
  __syncthreads();
  return staged;
}

}  // namespace tenon::ops::cuda
