// The gradients of keys and values: with p = exp2(scale2 q.k - lse2) and ds = p (dout.v - delta), summed over the heads
// of the group and over queries,  dv = p^T dout,  dk = scale ds^T q.
//
// A block has 64 keys of one kv head and walks the queries that see them. Warps work in pairs on the same 32 keys: one
// makes q k^T, p and dv, the other dout v^T, ds and dk, for which p comes over through shared memory. So a warp's sums
// are 32 x 128 for a head dim of 128, half of its registers, each fragment of a query tile feeds four products, and
// each of the four products is computed once: about 1.4 cycles of shared memory a product of 16 x 8 x 16, less than
// the tensor cores take. 111 KiB of shared memory for a head dim of 128, two buffers of queries included, so that two
// blocks share a processor of Hopper's.
#include "../../runtime/cuda/limits.h"
#include "attention_sequences.h"
#include "attention_tiles.h"

namespace tenon::ops::cuda {
namespace {

constexpr int kKeys = 64;

template <int kDim, int kValueDim, int kQueries>
constexpr size_t kSharedBytes = (kKeys + 2 * kQueries) * (kTileStride<kDim> + kTileStride<kValueDim>)*sizeof(bf16) +
                                kKeys* kQueries * sizeof(bf16) + 2 * kQueries * sizeof(float2);

template <int kDim, int kValueDim, int kM, int kQueries, int kBlocks>
__global__ void __launch_bounds__(kKeys / kM * 4, kBlocks)
    dkdv_kernel(const __grid_constant__ PackedSequences p, float scale2, const bf16* dout, const bf16* q, const bf16* k,
                const bf16* v, const float2* stats, bf16* dk, bf16* dv) {
  constexpr int kWarpRows = kM * 16, kPairs = kKeys / kWarpRows, kThreads = kPairs * 64, kSteps = kQueries / 16;
  constexpr int kQueryTile = kQueries * kTileStride<kDim>, kDoutTile = kQueries * kTileStride<kValueDim>;
  static_assert(kQueries <= kThreads);
  const auto [slot, kv_head] = find_place<false>(p.kv_heads);
  const SequenceTile found = find_tile<kKeys>(p, slot);
  if (found.length == 0) return;
  TENON_SHARED(tile, SequenceTile);  // the accumulators leave no registers for it
  if (threadIdx.x == 0) tile = found;
  __syncthreads();

  bf16* tile_k = dynamic_shared<bf16>();
  bf16* tile_v = tile_k + kKeys * kTileStride<kDim>;
  bf16* tiles_q = tile_v + kKeys * kTileStride<kValueDim>;
  bf16* tiles_dout = tiles_q + 2 * kQueryTile;
  uint4* probabilities = reinterpret_cast<uint4*>(tiles_dout + 2 * kDoutTile);  // [kPairs][kM][kSteps][32 lanes]
  float2* tiles_stats = reinterpret_cast<float2*>(probabilities + kKeys * kQueries / 8);
  const int end_head = (kv_head + 1) * p.group;
  const int lane = threadIdx.x % 32, warp = static_cast<int>(threadIdx.x) / 32, pair = warp % kPairs;
  const bool makes_dk = warp >= kPairs;
  const int rows = min(kKeys, tile.length - tile.first);
  const int key = tile.first + pair * kWarpRows, key_end = min(key + kWarpRows, tile.length);
  const int64_t q_stride = int64_t{p.heads} * p.dim, dout_stride = int64_t{p.heads} * p.value_dim;

  // Of each head of the group, the tiles of queries that see any of the keys.
  const int begin = max(0, tile.first - p.after) / kQueries;
  const int end = (min(tile.length, tile.first + rows + p.before) + kQueries - 1) / kQueries;
  struct {
    int head, tile;
  } next{kv_head * p.group, begin};
  const auto load_queries = [&](int buffer) {
    const int query = next.tile * kQueries, count = tile.length - query;
    const int64_t row = tile.start + query;
    load_tile<kQueries, kDim, kThreads>(tiles_q + buffer * kQueryTile, q + row * q_stride + next.head * p.dim, q_stride,
                                        count, p.dim);
    load_tile<kQueries, kValueDim, kThreads>(tiles_dout + buffer * kDoutTile,
                                             dout + row * dout_stride + next.head * p.value_dim, dout_stride, count,
                                             p.value_dim);
    ptx::cp_async_commit();
  };
  // Queries behind the end have a probability of zero.
  const auto load_stat = [&] {
    const int query = next.tile * kQueries + static_cast<int>(threadIdx.x);
    return threadIdx.x < kQueries && query < tile.length ? stats[int64_t{next.head} * p.tokens + tile.start + query]
                                                         : float2{INFINITY, 0};
  };
  const int64_t k_row = int64_t{tile.start + tile.first} * p.kv_heads + kv_head;
  load_tile<kKeys, kDim, kThreads>(tile_k, k + k_row * p.dim, int64_t{p.kv_heads} * p.dim, rows, p.dim);
  load_tile<kKeys, kValueDim, kThreads>(tile_v, v + k_row * p.value_dim, int64_t{p.kv_heads} * p.value_dim, rows,
                                        p.value_dim);
  load_queries(0);
  float2 next_stat = load_stat();

  constexpr int kWidest = kDim > kValueDim ? kDim : kValueDim;
  float sums[kM][kWidest / 8][4] = {};
  for (int buffer = 0; next.head < end_head; buffer = 1 - buffer) {
    const int query = next.tile * kQueries;
    const bf16 *tile_q = tiles_q + buffer * kQueryTile, *tile_dout = tiles_dout + buffer * kDoutTile;
    float2* stat = tiles_stats + buffer * kQueries;
    if (threadIdx.x < kQueries) stat[threadIdx.x] = next_stat;
    ptx::cp_async_wait<0>();
    __syncthreads();  // these queries are here; the ones before and their probabilities have been read
    if (++next.tile == end) next = {next.head + 1, begin};
    if (next.head < end_head) {
      load_queries(1 - buffer);
      next_stat = load_stat();
    }

    // q k^T or dout v^T, transposed: rows are keys, columns queries.
    float score[kM][kQueries / 8][4] = {};
    const bf16 *keys = tile_k + pair * kWarpRows * kTileStride<kDim>,
               *values = tile_v + pair * kWarpRows * kTileStride<kValueDim>;
    if constexpr (kDim == kValueDim) {
      multiply_rows<kDim>(score, makes_dk ? values : keys, makes_dk ? tile_dout : tile_q);
    } else {
      if (makes_dk)
        multiply_rows<kValueDim>(score, values, tile_dout);
      else
        multiply_rows<kDim>(score, keys, tile_q);
    }

    // Of the lane's two queries in columns 8 n: {lse, delta, lse, delta}.
    const auto stats_of = [&](int n) { return load<4>(reinterpret_cast<const float*>(stat + n * 8 + lane % 4 * 2)); };
    uint4* exchange = probabilities + pair * kM * kSteps * 32 + lane;
    if (!makes_dk) {
      if (!all_visible(p, query, min(query + kQueries, tile.length), key, key_end))
        hide(score, scale2 < 0 ? INFINITY : -INFINITY, key, query, p.after, p.before, tile.length);
#pragma unroll
      for (int n = 0; n < kQueries / 8; ++n) {
        const auto s = stats_of(n);
#pragma unroll
        for (int m = 0; m < kM; ++m)
#pragma unroll
          for (int e = 0; e < 4; ++e) score[m][n][e] = ptx::exp2_approx(fmaf(score[m][n][e], scale2, -s[e % 2 * 2]));
      }
      uint32_t operand[kM][kSteps][4];
      as_operand(operand, score);
#pragma unroll
      for (int m = 0; m < kM; ++m)
#pragma unroll
        for (int i = 0; i < kSteps; ++i) {
          const uint32_t(&o)[4] = operand[m][i];
          exchange[(m * kSteps + i) * 32] = {o[0], o[1], o[2], o[3]};
        }
    }
    __syncthreads();
    // Both read the probabilities back: kept in registers, they would be beside the other warp's products. All at once,
    // so that the products of all steps are one stream, in which fragments are read ahead.
    uint32_t operand[kM][kSteps][4];
#pragma unroll
    for (int m = 0; m < kM; ++m)
#pragma unroll
      for (int i = 0; i < kSteps; ++i) {
        const uint4 o = exchange[(m * kSteps + i) * 32];
        operand[m][i][0] = o.x, operand[m][i][1] = o.y, operand[m][i][2] = o.z, operand[m][i][3] = o.w;
      }
    if (makes_dk) {
#pragma unroll
      for (int n = 0; n < kQueries / 8; ++n) {
        const auto s = stats_of(n);
#pragma unroll
        for (int m = 0; m < kM; ++m)
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            uint32_t& pair = operand[m][n / 2][n % 2 * 2 + half];
            pair = pack_bf16(low_bf16(pair) * (score[m][n][half * 2] - s[1]),
                             high_bf16(pair) * (score[m][n][half * 2 + 1] - s[3]));
          }
      }
    }
    if constexpr (kDim == kValueDim) {
      multiply_columns<kDim>(sums, operand, makes_dk ? tile_q : tile_dout);
    } else {
      if (makes_dk)
        multiply_columns<kDim>(sums, operand, tile_q);
      else
        multiply_columns<kValueDim>(sums, operand, tile_dout);
    }
  }

  __syncthreads();  // keys and values have been read
  const int64_t row = int64_t{tile.start + key} * p.kv_heads + kv_head;
  if (makes_dk)
    store_rows<kDim, kDim>(
        sums, [&](int, int) { return p.scale; }, tile_k + pair * kWarpRows * kTileStride<kDim>, dk + row * p.dim,
        int64_t{p.kv_heads} * p.dim, key_end - key, p.dim);
  else
    store_rows<kValueDim, kValueDim>(
        sums, [](int, int) { return 1.0f; }, tile_v + pair * kWarpRows * kTileStride<kValueDim>, dv + row * p.value_dim,
        int64_t{p.kv_heads} * p.value_dim, key_end - key, p.value_dim);
}

template <int kDim, int kValueDim, int kM, int kQueries, int kBlocks>
void run(const PackedSequences& p, const bf16* dout, const bf16* q, const bf16* k, const bf16* v, const float2* stats,
         bf16* dk, bf16* dv) {
  launch(dkdv_kernel<kDim, kValueDim, kM, kQueries, kBlocks>,
         {.grid = p.blocks(kKeys, p.kv_heads),
          .block = dim3(kKeys / kM * 4),
          .shared_bytes = kSharedBytes<kDim, kValueDim, kQueries>},
         p, scale2(p.scale), dout, q, k, v, stats, dk, dv);
}

}  // namespace

void attention_dkdv_bf16(const PackedSequences& p, const bf16* dout, const bf16* q, const bf16* k, const bf16* v,
                         const float2* stats, bf16* dk, bf16* dv) {
  const auto fits = [&](int dim, int value_dim) { return p.dim <= dim && p.value_dim <= value_dim; };
  // Half as many queries where a block has less memory (sm_86, sm_89).
  const bool large = tenon::cuda::shared_memory_limit() > kSharedBytes<192, 128, 64>;  // a little is static
  const auto f = fits(32, 32)     ? &run<32, 32, 2, 64, 2>
                 : fits(64, 64)   ? &run<64, 64, 2, 64, 2>
                 : fits(96, 96)   ? &run<96, 96, 2, 64, 2>
                 : fits(128, 128) ? (large ? &run<128, 128, 2, 64, 2> : &run<128, 128, 2, 32, 1>)
                 : fits(192, 128) ? (large ? &run<192, 128, 1, 64, 1> : &run<192, 128, 1, 32, 1>)
                                  : &run<256, 256, 1, 32, 1>;
  f(p, dout, q, k, v, stats, dk, dv);
}

}  // namespace tenon::ops::cuda
