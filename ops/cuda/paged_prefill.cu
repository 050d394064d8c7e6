// Sequences with several new queries: FlashAttention-2 (Dao 2023, arXiv 2307.08691) on pages. A block has 64 rows of
// queries, a warp 16 of them, and all its keys pass by a page at a time while the next one loads. Bound by the tensor
// cores. With 64 rows the accumulators of a head dim of 128 stay in registers (64 a thread) and two blocks share a
// processor: while one computes its softmax, the other keeps the tensor cores busy.
#include <algorithm>

#include "online_softmax.h"
#include "paged_operands.h"
#include "ptx.h"

namespace tenon::ops::cuda {
namespace {

constexpr int kWarps = 4, kThreads = kWarps * 32, kRows = kWarps * 16;

template <int kDim>
struct Shape {
  static constexpr int kKeys = kDim <= 128 ? kPage : kPage / 2;  // of a step; the shared memory of sm_80 is 163 KiB
  static constexpr int kStride = kDim + 8;  // rows of an odd number of 16 bytes: ldmatrix meets no bank twice
  static constexpr int kTile = kKeys * kStride;
  static constexpr size_t kSharedBytes = (kRows * kStride + 4 * kTile) * sizeof(bf16);
};

template <int kDim>
__global__ void __launch_bounds__(kThreads)
    prefill_kernel(const __grid_constant__ PagedBatch batch, const __grid_constant__ PagedOperands<bf16> in) {
  using S = Shape<kDim>;
  constexpr int kKeys = S::kKeys, kStride = S::kStride, kTile = S::kTile, kUnits = kDim / 8;
  // The last tiles have the most keys: they go first.
  const auto [s, row0] = prefill_tile(batch, in.group, kRows, static_cast<int>(gridDim.x - 1 - blockIdx.x));
  const int rows = min(kRows, s.queries * in.group - row0);
  if (rows <= 0) return;
  const int kv_head = blockIdx.y, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const KeyRange keys = batch.keys_of(s, row0 / in.group, (row0 + rows - 1) / in.group);

  bf16* tile_q = dynamic_shared<bf16>();
  bf16* tiles = tile_q + kRows * kStride;  // keys and values of two steps
  const int first_step = keys.begin / kKeys, steps = (keys.end + kKeys - 1) / kKeys;
  int entry = first_step < steps ? batch.entry(s, first_step * kKeys / kPage) : 0;  // of the next step to fetch
  const auto fetch = [&](int step) {
    const int key0 = step * kKeys;
    const int64_t page = batch.page(s, key0 / kPage, entry);
    if (step + 1 < steps) entry = batch.entry(s, (step + 1) * kKeys / kPage);
    const int64_t at = page < 0 ? 0 : in.page_row(page, kv_head) + key0 % kPage;
    const bf16 *k = in.keys + at * in.dim, *v = in.values + at * in.value_dim;
    bf16* to = tiles + step % 2 * 2 * kTile;
    const int valid_rows = page < 0 ? 0 : min(kKeys, keys.end - key0);
#pragma unroll 4
    for (int i = threadIdx.x; i < kKeys * kUnits; i += kThreads) {
      const int row = i / kUnits, column = i % kUnits * 8;
      const bool k_valid = row < valid_rows && column < in.dim, v_valid = row < valid_rows && column < in.value_dim;
      ptx::cp_async_16(to + row * kStride + column, k_valid ? k + row * in.dim + column : k, k_valid);
      ptx::cp_async_16(to + kTile + row * kStride + column, v_valid ? v + row * in.value_dim + column : v, v_valid);
    }
    ptx::cp_async_commit();
  };
  for (int i = threadIdx.x; i < kRows * kUnits; i += kThreads) {
    const int row = i / kUnits, column = i % kUnits * 8;
    const bool valid = row < rows && column < in.dim;
    ptx::cp_async_16(tile_q + row * kStride + column,
                     valid ? in.q + in.query_row(s, kv_head, row0 + row) * in.dim + column : in.q, valid);
  }
  ptx::cp_async_commit();
  if (first_step < steps) fetch(first_step);

  KeyRange range[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = warp * 16 + lane / 4 + half * 8;
    range[half] = row < rows ? batch.keys_of(s, (row0 + row) / in.group) : KeyRange{0, 0};
  }
  // Keys that all rows see need no mask.
  const int common_begin = batch.keys_of(s, (row0 + rows - 1) / in.group).begin,
            common_end = rows < kRows ? 0 : batch.keys_of(s, row0 / in.group).end;

  const bf16* own_q = tile_q + (warp * 16 + lane % 16) * kStride + lane / 16 * 8;
  SoftmaxRows softmax;
  float sum[kDim / 8][4] = {};
  for (int step = first_step; step < steps; ++step) {
    ptx::cp_async_wait<0>();
    __syncthreads();  // the step is here, and the one before has been read by all
    if (step + 1 < steps) fetch(step + 1);
    const bf16* tile_k = tiles + step % 2 * 2 * kTile;
    const bf16* tile_v = tile_k + kTile;

    float score[kKeys / 8][4] = {};
#pragma unroll
    for (int d = 0; d < kDim / 16; ++d) {
      uint32_t q[4];
      ptx::ldmatrix_x4(q, own_q + d * 16);
#pragma unroll
      for (int j = 0; j < kKeys / 16; ++j) {
        uint32_t k[4];
        ptx::ldmatrix_x4(k, tile_k + (j * 16 + lane / 16 * 8 + lane % 8) * kStride + d * 16 + lane / 8 % 2 * 8);
        ptx::mma_m16n8k16(score[j * 2], q, k[0], k[1]);
        ptx::mma_m16n8k16(score[j * 2 + 1], q, k[2], k[3]);
      }
    }

    const int key0 = step * kKeys;
    if (key0 >= common_begin && key0 + kKeys <= common_end)
      scale_and_mask(score, batch.scale, [](int, int) { return true; });
    else
      scale_and_mask(score, batch.scale, [&](int half, int key) { return range[half].has(key0 + key); });
    float most[2], factor[2];
    uint32_t weight[kKeys / 8][2];
    row_maxima(score, most);
    add_scores(score, most, softmax, weight, factor);
#pragma unroll
    for (int d = 0; d < kDim / 8; ++d)
#pragma unroll
      for (int e = 0; e < 4; ++e) sum[d][e] *= factor[e / 2];

#pragma unroll
    for (int j = 0; j < kKeys / 16; ++j) {
      const uint32_t w[4] = {weight[j * 2][0], weight[j * 2][1], weight[j * 2 + 1][0], weight[j * 2 + 1][1]};
#pragma unroll
      for (int d = 0; d < kDim / 16; ++d) {
        uint32_t v[4];
        ptx::ldmatrix_x4_trans(v, tile_v + (j * 16 + lane % 16) * kStride + d * 16 + lane / 16 * 8);
        ptx::mma_m16n8k16(sum[d * 2], w, v[0], v[1]);
        ptx::mma_m16n8k16(sum[d * 2 + 1], w, v[2], v[3]);
      }
    }
  }

  ptx::cp_async_wait<0>();  // of rows without keys, too
  finish_totals(softmax);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = warp * 16 + lane / 4 + half * 8;
    if (row >= rows) continue;
    const float scale = softmax.total[half] == 0 ? 0 : 1 / softmax.total[half];
    bf16* out = in.out + in.query_row(s, kv_head, row0 + row) * in.value_dim;
#pragma unroll
    for (int d = 0; d < kDim / 8; ++d)
      if (d * 8 < in.value_dim)
        *reinterpret_cast<uint32_t*>(out + d * 8 + lane % 4 * 2) =
            pack_bf16(sum[d][half * 2] * scale, sum[d][half * 2 + 1] * scale);
  }
}

template <int kDim>
void prefill(const PagedBatch& batch, const PagedOperands<bf16>& operands) {
  const int64_t tiles = most_prefill_tiles(batch.tokens, batch.sequences, operands.group, kRows);
  const dim3 grid(static_cast<unsigned>(tiles), static_cast<unsigned>(operands.kv_heads));
  launch(prefill_kernel<kDim>, {.grid = grid, .block = dim3(kThreads), .shared_bytes = Shape<kDim>::kSharedBytes},
         batch, operands);
}

}  // namespace

size_t paged_prefill_shared_bytes(int64_t dim) {
  return dim <= 64 ? Shape<64>::kSharedBytes : dim <= 128 ? Shape<128>::kSharedBytes : Shape<256>::kSharedBytes;
}

void paged_prefill(const PagedBatch& batch, const PagedOperands<bf16>& operands) {
  const int dim = std::max(operands.dim, operands.value_dim);
  if (dim <= 64)
    prefill<64>(batch, operands);
  else if (dim <= 128)
    prefill<128>(batch, operands);
  else
    prefill<256>(batch, operands);
}

}  // namespace tenon::ops::cuda
