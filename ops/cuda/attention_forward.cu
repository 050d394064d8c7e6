// FlashAttention-2's forward pass (Dao 2023, arXiv 2307.08691) for mma.sync.
//
// A block has a tile of queries of one head and walks the sequence's blocks of 64 keys; a warp has 32 of the queries,
// so that each fragment of K and V which it reads from shared memory feeds four products: with 16, reading would take
// longer (4 cycles for 512 bytes) than multiplying. The accumulators, 32 x 128 sums and 32 x 64 scores, are three
// quarters of a thread's registers. Blocks of four warps, two of them on a processor for a head dim of 128: one
// multiplies while the other takes exponentials or waits. K of the next block is loaded while P V runs and V while Q
// K^T runs, so one buffer of each does. Head dims above 128 leave a warp registers for 16 queries alone.
//
// P is rounded to bf16 for the tensor cores. Where a row has many keys of like weight, the roundings to eight bits
// average out; where few keys have most of the weight they do not, and there what the rounding left is multiplied as
// well. Which blocks of keys those are depends on the row alone; most rows meet them at their sequence's begin, at a
// peak, or nowhere.
#include "attention_sequences.h"
#include "attention_tiles.h"

namespace tenon::ops::cuda {
namespace {

constexpr int kKeys = 64;

template <int kDim, int kValueDim, int kM, int kWarps>
constexpr size_t kSharedBytes = ((kWarps * kM * 16 + kKeys) * kTileStride<kDim> +
                                 kKeys * kTileStride<kValueDim>)*sizeof(bf16);

// Scores become exp2(scale2 (score - largest)), with the running maximum, the sum and the output brought up to date.
// A key block of which a row sees nothing changes no bit of the row. Returns a bit 2 m + half for each row of which the
// lane's probabilities of this block are more than half of its sum.
template <int kM, int kN, int kOut>
__device__ unsigned online_softmax(float (&score)[kM][kN][4], float scale2, float (&largest)[kM][2],
                                   float (&sum)[kM][2], float (&out)[kM][kOut][4]) {
  unsigned heavy = 0;
#pragma unroll
  for (int m = 0; m < kM; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float now = largest[m][half];
#pragma unroll
      for (int n = 0; n < kN; ++n) now = fmaxf(now, fmaxf(score[m][n][half * 2], score[m][n][half * 2 + 1]));
      now = fmaxf(now, __shfl_xor_sync(0xFFFFFFFFu, now, 1));
      now = fmaxf(now, __shfl_xor_sync(0xFFFFFFFFu, now, 2));
      const float factor = now == largest[m][half] ? 1.0f : ptx::exp2_approx((largest[m][half] - now) * scale2);
      const float shift = now == -INFINITY ? 0.0f : now * scale2;
      largest[m][half] = now;
      float total = 0;
#pragma unroll
      for (int n = 0; n < kN; ++n)
#pragma unroll
        for (int e = half * 2; e < half * 2 + 2; ++e) {
          score[m][n][e] = ptx::exp2_approx(fmaf(score[m][n][e], scale2, -shift));
          total += score[m][n][e];
        }
      sum[m][half] = sum[m][half] * factor + total;
      if (2 * total > sum[m][half]) heavy |= 1u << (2 * m + half);
#pragma unroll
      for (int n = 0; n < kOut; ++n) out[m][n][half * 2] *= factor, out[m][n][half * 2 + 1] *= factor;
    }
  return heavy;
}

// out += P V for the kKeys / 16 steps of the probabilities, as bf16 (kRest: what bf16 leaves of the rows in `heavy`).
template <int kValueDim, bool kRest, int kM, int kOut>
__device__ void add_values(float (&out)[kM][kOut][4], const float (&probability)[kM][kKeys / 8][4], unsigned heavy,
                           const bf16* tile_v) {
#pragma unroll
  for (int k = 0; k < kKeys / 16; ++k) {
    uint32_t operand[kM][1][4];
#pragma unroll
    for (int m = 0; m < kM; ++m)
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        const float* pair = probability[m][2 * k + r / 2] + r % 2 * 2;
        uint32_t& o = operand[m][0][r];
        o = pack_bf16(pair[0], pair[1]);
        if constexpr (kRest)
          o = heavy >> (2 * m + r % 2) & 1 ? pack_bf16(pair[0] - low_bf16(o), pair[1] - high_bf16(o)) : 0;
      }
    multiply_columns<kValueDim>(out, operand, tile_v + k * 16 * kTileStride<kValueDim>);
  }
}

// What a block works on, in shared memory: the accumulators leave no registers for it.
struct Walk {
  SequenceTile tile;
  int end;  // of the key blocks that the tile sees
  int kv_head;
};

template <int kDim, int kValueDim, int kM, int kWarps, int kBlocks>
__global__ void __launch_bounds__(kWarps * 32, kBlocks)
    forward_kernel(const __grid_constant__ PackedSequences p, float scale2, const bf16* q, const bf16* k, const bf16* v,
                   bf16* out, float* lse) {
  constexpr int kThreads = kWarps * 32, kWarpRows = kM * 16, kRows = kWarps * kWarpRows;
  const auto [slot, head] = find_place<true>(p.heads);
  if (slot == 0 && head == 0) check_sequences(p);
  const SequenceTile found = find_tile<kRows>(p, slot);
  if (found.length == 0) return;
  TENON_SHARED(walk, Walk);
  if (threadIdx.x == 0)
    walk = {found, (min(found.length, min(found.first + kRows, found.length) + p.after) + kKeys - 1) / kKeys,
            head / p.group};
  __syncthreads();
  const SequenceTile& tile = walk.tile;

  bf16* tile_q = dynamic_shared<bf16>();
  bf16* tile_k = tile_q + kRows * kTileStride<kDim>;
  bf16* tile_v = tile_k + kKeys * kTileStride<kDim>;
  const int64_t k_stride = int64_t{p.kv_heads} * p.dim, v_stride = int64_t{p.kv_heads} * p.value_dim;
  const int lane = threadIdx.x % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int tile_end = min(tile.first + kRows, tile.length);
  const int begin = max(0, tile.first - p.before) / kKeys;

  const auto load_k = [&](int j) {
    load_tile<kKeys, kDim, kThreads>(tile_k, k + (tile.start + j * kKeys) * k_stride + walk.kv_head * p.dim, k_stride,
                                     tile.length - j * kKeys, p.dim);
    ptx::cp_async_commit();
  };
  const int64_t q_row = int64_t{tile.start + tile.first} * p.heads + head;
  load_tile<kRows, kDim, kThreads>(tile_q, q + q_row * p.dim, int64_t{p.heads} * p.dim, tile_end - tile.first, p.dim);
  load_k(begin);

  float sums[kM][kValueDim / 8][4] = {};
  float largest[kM][2], sum[kM][2] = {};
#pragma unroll
  for (int m = 0; m < kM; ++m) largest[m][0] = largest[m][1] = -INFINITY;

  for (int j = begin; j < walk.end; ++j) {
    const int key = j * kKeys, key_end = min(key + kKeys, tile.length);
    const int query = tile.first + warp * kWarpRows, query_end = min(query + kWarpRows, tile.length);
    const bool used = any_visible(p, query, query_end, key, key_end);
    ptx::cp_async_wait<0>();
    __syncthreads();  // K is here, and the V before has been read
    load_tile<kKeys, kValueDim, kThreads>(tile_v, v + (tile.start + key) * v_stride + walk.kv_head * p.value_dim,
                                          v_stride, key_end - key, p.value_dim);
    ptx::cp_async_commit();

    float score[kM][kKeys / 8][4] = {};
    unsigned heavy = 0;
    if (used) {
      multiply_rows<kDim>(score, tile_q + warp * kWarpRows * kTileStride<kDim>, tile_k);
      if (key + kKeys > tile.length || !all_visible(p, query, query_end, key, key_end))
        hide(score, -INFINITY, query, key, p.before, p.after, tile.length);
      heavy = online_softmax(score, scale2, largest, sum, sums);
    }
    ptx::cp_async_wait<0>();
    __syncthreads();  // V is here, and K has been read
    if (j + 1 < walk.end) load_k(j + 1);
    if (used) add_values<kValueDim, false>(sums, score, heavy, tile_v);
    if (__any_sync(0xFFFFFFFFu, heavy)) add_values<kValueDim, true>(sums, score, heavy, tile_v);
  }

  const int query = tile.first + warp * kWarpRows, query_end = min(query + kWarpRows, tile.length);
#pragma unroll
  for (int m = 0; m < kM; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float& total = sum[m][half];
      total += __shfl_xor_sync(0xFFFFFFFFu, total, 1);
      total += __shfl_xor_sync(0xFFFFFFFFu, total, 2);
      const int row = query + m * 16 + lane / 4 + half * 8;
      if (lane % 4 == 0 && row < query_end)
        lse[int64_t{tile.start + row} * p.heads + head] = largest[m][half] * (scale2 * kLn2) + logf(total);
    }
  // The warp's own queries have been read.
  const int64_t row = int64_t{tile.start + query} * p.heads + head;
  store_rows<kValueDim, kDim>(
      sums, [&](int m, int half) { return 1.0f / sum[m][half]; }, tile_q + warp * kWarpRows * kTileStride<kDim>,
      out + row * p.value_dim, int64_t{p.heads} * p.value_dim, query_end - query, p.value_dim);
}

template <int kDim, int kValueDim, int kM, int kWarps, int kBlocks>
void run(const PackedSequences& p, const bf16* q, const bf16* k, const bf16* v, bf16* out, float* lse) {
  launch(forward_kernel<kDim, kValueDim, kM, kWarps, kBlocks>,
         {.grid = p.blocks(kWarps * kM * 16, p.heads),
          .block = dim3(kWarps * 32),
          .shared_bytes = kSharedBytes<kDim, kValueDim, kM, kWarps>},
         p, scale2(p.scale), q, k, v, out, lse);
}

}  // namespace

void attention_forward_bf16(const PackedSequences& p, const bf16* q, const bf16* k, const bf16* v, bf16* out,
                            float* lse) {
  const auto fits = [&](int dim, int value_dim) { return p.dim <= dim && p.value_dim <= value_dim; };
  const auto f = fits(32, 32)     ? &run<32, 32, 2, 4, 2>
                 : fits(64, 64)   ? &run<64, 64, 2, 4, 2>
                 : fits(96, 96)   ? &run<96, 96, 2, 4, 2>
                 : fits(128, 128) ? &run<128, 128, 2, 4, 2>
                 : fits(192, 128) ? &run<192, 128, 1, 8, 1>
                                  : &run<256, 256, 1, 8, 1>;
  f(p, q, k, v, out, lse);
}

}  // namespace tenon::ops::cuda
