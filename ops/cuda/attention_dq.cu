// The gradient of the queries: with p = exp2(scale2 q.k - lse2) and ds = p (dout.v - delta),  dq = scale ds k.
//
// A block has a tile of queries and walks the keys, as the forward pass does; a second kernel, attention_dkdv.cu, has
// keys and walks the queries. Two passes compute the scores twice, seven products in place of five, and need neither
// atomics nor memory for parts of dq. 32 keys at a time: with 32 rows of queries a warp, sums and both kinds of scores
// are 192 of a thread's registers. Two buffers of K and V, so one barrier a step.
#include "../../runtime/cuda/limits.h"
#include "attention_sequences.h"
#include "attention_tiles.h"

namespace tenon::ops::cuda {
namespace {

constexpr int kKeys = 32;

template <int kDim, int kValueDim, int kRows>
constexpr size_t kSharedBytes = (kRows + 2 * kKeys) * (kTileStride<kDim> + kTileStride<kValueDim>)*sizeof(bf16);

template <int kDim, int kValueDim, int kM, int kWarps, int kBlocks>
__global__ void __launch_bounds__(kWarps * 32, kBlocks)
    dq_kernel(const __grid_constant__ PackedSequences p, float scale2, const bf16* dout, const bf16* q, const bf16* k,
              const bf16* v, const float2* stats, bf16* dq) {
  constexpr int kThreads = kWarps * 32, kWarpRows = kM * 16, kRows = kWarps * kWarpRows;
  constexpr int kKeyTile = kKeys * kTileStride<kDim>, kValueTile = kKeys * kTileStride<kValueDim>;
  const auto [slot, head] = find_place<true>(p.heads);
  const SequenceTile tile = find_tile<kRows>(p, slot);
  if (tile.length == 0) return;

  bf16* tile_q = dynamic_shared<bf16>();
  bf16* tile_dout = tile_q + kRows * kTileStride<kDim>;
  bf16* tiles_k = tile_dout + kRows * kTileStride<kValueDim>;
  bf16* tiles_v = tiles_k + 2 * kKeyTile;
  const int kv_head = head / p.group;
  const int64_t k_stride = int64_t{p.kv_heads} * p.dim, v_stride = int64_t{p.kv_heads} * p.value_dim;
  k += tile.start * k_stride + kv_head * p.dim;
  v += tile.start * v_stride + kv_head * p.value_dim;
  const int lane = threadIdx.x % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int tile_end = min(tile.first + kRows, tile.length);
  const int query = tile.first + warp * kWarpRows, query_end = min(query + kWarpRows, tile.length);
  const int begin = max(0, tile.first - p.before) / kKeys;
  const int end = (min(tile.length, tile_end + p.after) + kKeys - 1) / kKeys;

  const auto load_keys = [&](int j) {
    const int key = j * kKeys, buffer = j % 2;
    load_tile<kKeys, kDim, kThreads>(tiles_k + buffer * kKeyTile, k + key * k_stride, k_stride, tile.length - key,
                                     p.dim);
    load_tile<kKeys, kValueDim, kThreads>(tiles_v + buffer * kValueTile, v + key * v_stride, v_stride,
                                          tile.length - key, p.value_dim);
    ptx::cp_async_commit();
  };
  const int64_t q_row = int64_t{tile.start + tile.first} * p.heads + head;
  load_tile<kRows, kDim, kThreads>(tile_q, q + q_row * p.dim, int64_t{p.heads} * p.dim, tile_end - tile.first, p.dim);
  load_tile<kRows, kValueDim, kThreads>(tile_dout, dout + q_row * p.value_dim, int64_t{p.heads} * p.value_dim,
                                        tile_end - tile.first, p.value_dim);
  load_keys(begin);

  float2 stat[kM][2];
#pragma unroll
  for (int m = 0; m < kM; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = query + m * 16 + half * 8 + lane / 4;
      stat[m][half] = row < query_end ? stats[int64_t{head} * p.tokens + tile.start + row] : float2{INFINITY, 0};
    }

  const float hidden = scale2 < 0 ? INFINITY : -INFINITY;
  float sums[kM][kDim / 8][4] = {};
  for (int j = begin; j < end; ++j) {
    const bf16 *tile_k = tiles_k + j % 2 * kKeyTile, *tile_v = tiles_v + j % 2 * kValueTile;
    ptx::cp_async_wait<0>();
    __syncthreads();  // these keys are here, and the ones before have been read
    if (j + 1 < end) load_keys(j + 1);

    const int key = j * kKeys, key_end = min(key + kKeys, tile.length);
    if (!any_visible(p, query, query_end, key, key_end)) continue;
    float score[kM][kKeys / 8][4] = {}, dp[kM][kKeys / 8][4] = {};
    multiply_rows<kDim>(score, tile_q + warp * kWarpRows * kTileStride<kDim>, tile_k);
    if (key + kKeys > tile.length || !all_visible(p, query, query_end, key, key_end))
      hide(score, hidden, query, key, p.before, p.after, tile.length);
    multiply_rows<kValueDim>(dp, tile_dout + warp * kWarpRows * kTileStride<kValueDim>, tile_v);
#pragma unroll
    for (int m = 0; m < kM; ++m)
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const float2 s = stat[m][e / 2];
          const float probability = ptx::exp2_approx(fmaf(score[m][n][e], scale2, -s.x));
          score[m][n][e] = probability * (dp[m][n][e] - s.y);
        }
    uint32_t ds[kM][kKeys / 16][4];
    as_operand(ds, score);
    multiply_columns<kDim>(sums, ds, tile_k);
  }
  // The warp's own queries have been read.
  const int64_t row = int64_t{tile.start + query} * p.heads + head;
  __syncwarp();
  store_rows<kDim, kDim>(
      sums, [&](int, int) { return p.scale; }, tile_q + warp * kWarpRows * kTileStride<kDim>, dq + row * p.dim,
      int64_t{p.heads} * p.dim, query_end - query, p.dim);
}

template <int kDim, int kValueDim, int kM, int kWarps, int kBlocks>
void run(const PackedSequences& p, const bf16* dout, const bf16* q, const bf16* k, const bf16* v, const float2* stats,
         bf16* dq) {
  constexpr int kRows = kWarps * kM * 16;
  launch(dq_kernel<kDim, kValueDim, kM, kWarps, kBlocks>,
         {.grid = p.blocks(kRows, p.heads),
          .block = dim3(kWarps * 32),
          .shared_bytes = kSharedBytes<kDim, kValueDim, kRows>},
         p, scale2(p.scale), dout, q, k, v, stats, dq);
}

}  // namespace

void attention_dq_bf16(const PackedSequences& p, const bf16* dout, const bf16* q, const bf16* k, const bf16* v,
                       const float2* stats, bf16* dq) {
  const auto fits = [&](int dim, int value_dim) { return p.dim <= dim && p.value_dim <= value_dim; };
  // Half as many queries where a block has less memory (sm_86, sm_89).
  const bool large = tenon::cuda::shared_memory_limit() >= kSharedBytes<192, 128, 128>;
  const auto f = fits(32, 32)     ? &run<32, 32, 2, 4, 3>
                 : fits(64, 64)   ? &run<64, 64, 2, 4, 2>
                 : fits(96, 96)   ? &run<96, 96, 2, 4, 2>
                 : fits(128, 128) ? (large ? &run<128, 128, 2, 4, 2> : &run<128, 128, 1, 4, 1>)
                 : fits(192, 128) ? (large ? &run<192, 128, 1, 8, 1> : &run<192, 128, 1, 4, 1>)
                                  : &run<256, 256, 1, 4, 1>;
  f(p, dout, q, k, v, stats, dq);
}

}  // namespace tenon::ops::cuda
