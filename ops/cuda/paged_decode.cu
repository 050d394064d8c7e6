// Decoding reads every key and value once and does little with it, so it should take as long as the memory needs. What
// counts is to keep loads under way: a warp streams a page of its own, 16 keys and values at a time, and starts the
// next 16 before it computes. Three blocks of four such warps on a processor have 100 KB under way, where the memory's
// latency times its bandwidth is 30 KB (H200). Where there are too few blocks for that, a warp starts all of its page
// at once. The heads of a group are the rows of a tensor-core tile; with few of them most of the tile is empty, but the
// tensor cores have time.
#include <algorithm>

#include "../../runtime/cuda/limits.h"
#include "online_softmax.h"
#include "paged_operands.h"
#include "ptx.h"

namespace tenon::ops::cuda {
namespace {

constexpr int kWarps = 4, kThreads = kWarps * 32;
constexpr int kRows = 16, kKeys = 16;  // of a tile

template <int kDim>
constexpr int kStride = kDim + 8;  // rows of an odd number of 16 bytes: ldmatrix meets no bank twice

// Of `kStages` steps a warp.
template <int kDim, int kStages>
constexpr size_t kSharedBytes = (kRows + kWarps * kStages * 2 * kKeys) * kStride<kDim> * sizeof(bf16);

constexpr size_t kSharedOfTotals = sizeof(float2) * kWarps * kRows;

// Blocks on a processor, for its registers; shared memory allows as many.
template <int kDim>
constexpr int kBlocks = kDim <= 64    ? 4
                        : kDim <= 128 ? 3
                                      : 1;

// 16 rows of `dim` elements to a tile, zeros beyond `rows` and `dim`. By one warp.
template <int kDim>
__device__ void load_rows(bf16* tile, const bf16* from, int rows, int dim) {
  constexpr int kUnits = kDim / 8, kRowsAtOnce = 32 / kUnits;
  const int lane = threadIdx.x % 32, column = lane % kUnits * 8;
#pragma unroll 4
  for (int row = lane / kUnits; row < kKeys; row += kRowsAtOnce) {
    const bool valid = row < rows && column < dim;
    ptx::cp_async_16(tile + row * kStride<kDim> + column, valid ? from + row * dim + column : from, valid);
  }
}

// A warp's sums over its page. The queries are read again for every step: their fragments would cost a third of the
// registers.
template <int kDim>
struct WarpSums {
  SoftmaxRows rows;
  float sum[kDim / 8][4] = {};

  __device__ void add(const bf16* tile_q, const bf16* keys, const bf16* values, int first_key,
                      const KeyRange (&range)[2], float scale) {
    const int lane = threadIdx.x % 32;
    float score[2][4] = {};
#pragma unroll 4
    for (int d = 0; d < kDim / 16; ++d) {
      uint32_t q[4], k[4];
      ptx::ldmatrix_x4(q, tile_q + lane % 16 * kStride<kDim> + d * 16 + lane / 16 * 8);
      ptx::ldmatrix_x4(k, keys + (lane / 16 * 8 + lane % 8) * kStride<kDim> + d * 16 + lane / 8 % 2 * 8);
      ptx::mma_m16n8k16(score[0], q, k[0], k[1]);
      ptx::mma_m16n8k16(score[1], q, k[2], k[3]);
    }
    scale_and_mask(score, scale, [&](int half, int key) { return range[half].has(first_key + key); });
    float most[2], factor[2];
    uint32_t weight[2][2];
    row_maxima(score, most);
    add_scores(score, most, rows, weight, factor);
    const uint32_t w[4] = {weight[0][0], weight[0][1], weight[1][0], weight[1][1]};
#pragma unroll
    for (int d = 0; d < kDim / 16; ++d) {
      uint32_t v[4];
      ptx::ldmatrix_x4_trans(v, values + lane % 16 * kStride<kDim> + d * 16 + lane / 16 * 8);
#pragma unroll
      for (int j = 0; j < 2; ++j) {
#pragma unroll
        for (int e = 0; e < 4; ++e) sum[d * 2 + j][e] *= factor[e / 2];
        ptx::mma_m16n8k16(sum[d * 2 + j], w, v[j * 2], v[j * 2 + 1]);
      }
    }
  }
};

// A split of a sequence for one kv head is a block's, a page of it a warp's.
template <int kDim, int kStages>
__global__ void __launch_bounds__(kThreads, kBlocks<kDim>)
    decode_kernel(const __grid_constant__ PagedBatch batch, const __grid_constant__ PagedOperands<bf16> in,
                  const __grid_constant__ KeySplits splits) {
  const int kv_head = blockIdx.y, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  constexpr int kTile = kKeys * kStride<kDim>;
  constexpr int kAhead = kStages == 2 ? 1 : kPage / kKeys;  // steps under way while one is awaited
  static_assert(kStages == 2 || kStages == kPage / kKeys);
  bf16* tile_q = dynamic_shared<bf16>();
  bf16* own = tile_q + kTile + warp * kStages * 2 * kTile;  // keys and values of its steps; at the end the warp's sums
  TENON_SHARED(totals, float2[kWarps][kRows]);

  for (int64_t item = blockIdx.x;; item += gridDim.x) {
    const auto [s, split] = find_split(batch, splits, item);
    if (s.queries == 0) return;
    const int block = split * kWarps + warp;
    for (int row0 = 0; row0 < s.queries * in.group; row0 += kRows) {
      const int rows = min(kRows, s.queries * in.group - row0);
      const KeyRange keys = batch.keys_of(s, row0 / in.group, (row0 + rows - 1) / in.group);
      if (split < splits.first(keys) || split > splits.last(keys)) continue;

      // This warp's keys, in steps of 16 of its page.
      const int begin = max(keys.begin - block * kPage, 0), end = min(keys.end - block * kPage, kPage);
      const int first_step = begin / kKeys, steps = (end + kKeys - 1) / kKeys;
      const int64_t page = first_step < steps ? batch.page(s, block) : -1;
      const int64_t at = page < 0 ? 0 : in.page_row(page, kv_head);
      const auto fetch = [&](int step) {
        const int valid = page < 0 ? 0 : min(kKeys, end - step * kKeys);
        bf16* to = own + step % kStages * 2 * kTile;
        load_rows<kDim>(to, in.keys + (at + step * kKeys) * in.dim, valid, in.dim);
        load_rows<kDim>(to + kTile, in.values + (at + step * kKeys) * in.value_dim, valid, in.value_dim);
      };
      // One group a step, be it empty, so that the number of those after it is known.
      for (int step = first_step; step < first_step + kAhead; ++step) {
        if (step < steps) fetch(step);
        ptx::cp_async_commit();
      }

      for (int i = threadIdx.x; i < kRows * (kDim / 8); i += kThreads) {
        const int row = i / (kDim / 8), column = i % (kDim / 8) * 8;
        Pack<bf16, 8> values{};
        if (row < rows && column < in.dim)
          values = load<8>(in.q + in.query_row(s, kv_head, row0 + row) * in.dim + column);
        store(tile_q + row * kStride<kDim> + column, values);
      }
      __syncthreads();
      KeyRange range[2];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = lane / 4 + half * 8;
        range[half] = row < rows ? batch.keys_of(s, (row0 + row) / in.group) : KeyRange{0, 0};
      }
      WarpSums<kDim> sums;
      for (int step = first_step; step < steps; ++step) {
        ptx::cp_async_wait<kAhead - 1>();
        __syncwarp();  // the step is here, and the one before has been read
        if (step + kAhead < steps) fetch(step + kAhead);
        ptx::cp_async_commit();
        const bf16* tile = own + step % kStages * 2 * kTile;
        sums.add(tile_q, tile, tile + kTile, block * kPage + step * kKeys, range, batch.scale);
      }

      finish_totals(sums.rows);
      float* shared_sum = reinterpret_cast<float*>(own);
      __syncwarp();
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = lane / 4 + half * 8;
        if (lane % 4 == 0) totals[warp][row] = make_float2(sums.rows.largest[half], sums.rows.total[half]);
#pragma unroll
        for (int d = 0; d < kDim / 8; ++d)
          *reinterpret_cast<float2*>(shared_sum + row * kStride<kDim> + d * 8 + lane % 4 * 2) =
              make_float2(sums.sum[d][half * 2], sums.sum[d][half * 2 + 1]);
      }
      __syncthreads();

      // The warps' sums in the order of their pages.
      for (int i = threadIdx.x; i < rows * in.value_dim / 2; i += kThreads) {
        const int row = i / (in.value_dim / 2), column = i % (in.value_dim / 2) * 2;
        const int query = (row0 + row) / in.group, head = kv_head * in.group + (row0 + row) % in.group;
        float largest = -INFINITY, total = 0;
        for (int w = 0; w < kWarps; ++w) largest = fmaxf(largest, totals[w][row].x);
        const float shift = largest == -INFINITY ? 0 : largest;
        float2 sum = make_float2(0, 0);
        for (int w = 0; w < kWarps; ++w) {
          const float factor = ptx::exp2_approx(totals[w][row].x - shift);
          const float* from = reinterpret_cast<const float*>(tile_q + kTile + w * kStages * 2 * kTile);
          const auto pair = load<2>(from + row * kStride<kDim> + column);
          total += totals[w][row].y * factor;
          sum.x += pair[0] * factor;
          sum.y += pair[1] * factor;
        }
        const KeyRange own_keys = batch.keys_of(s, query);
        const int first = splits.first(own_keys), last = splits.last(own_keys);
        if (split < first || split > last || !splits.serves(s, query)) continue;
        if (first == last) {
          const float scale = total == 0 ? 0 : 1 / total;
          store<2>(in.out + ((s.first + query) * in.heads + head) * in.value_dim + column,
                   [&](int k) { return (k == 0 ? sum.x : sum.y) * scale; });
        } else {
          const int64_t at = splits.row(s, query, head) * splits.count + split;
          *reinterpret_cast<float2*>(splits.sums + at * splits.stride + column) = sum;
          if (column == 0) splits.totals[at] = make_float2(largest, total);
        }
      }
      __syncthreads();  // the sums have been read
    }
  }
}

template <int kDim>
void decode(const PagedBatch& batch, const PagedOperands<bf16>& operands, const KeySplits& splits) {
  const int blocks = split_blocks(batch, splits, operands.kv_heads, kBlocks<kDim>);
  const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(operands.kv_heads));
  const LaunchShape shape{.grid = grid, .block = dim3(kThreads)};
  const auto run = [&]<int kStages>() {
    LaunchShape with_shared = shape;
    with_shared.shared_bytes = kSharedBytes<kDim, kStages>;
    launch(decode_kernel<kDim, kStages>, with_shared, batch, operands, splits);
  };
  if constexpr (kDim <= 128) {
    constexpr int kWholePage = kPage / kKeys;
    if (int64_t{blocks} * operands.kv_heads <= tenon::cuda::multiprocessors() &&
        kSharedOfTotals + kSharedBytes<kDim, kWholePage> <= tenon::cuda::shared_memory_limit())
      return run.template operator()<kWholePage>();
  }
  run.template operator()<2>();
}

}  // namespace

size_t paged_decode_shared_bytes(int64_t dim) {
  return kSharedOfTotals + (dim <= 64 ? kSharedBytes<64, 2> : dim <= 128 ? kSharedBytes<128, 2> : kSharedBytes<256, 2>);
}

void paged_decode(const PagedBatch& batch, const PagedOperands<bf16>& operands, const KeySplits& splits) {
  const int dim = std::max(operands.dim, operands.value_dim);
  if (dim <= 64)
    decode<64>(batch, operands, splits);
  else if (dim <= 128)
    decode<128>(batch, operands, splits);
  else
    decode<256>(batch, operands, splits);
}

}  // namespace tenon::ops::cuda
