// A row of keys serves all heads, 128 in DeepSeek-V3: even decoding does 2 (576 + 512) / 1152 * 128 = 240 operations a
// byte and is bound by the tensor cores and, before them, by shared memory, from which they are fed. A block takes 64
// rows of queries, the most whose 512 sums each stay in registers (128 of each of 256 threads), so that what is read of
// the keys serves many. 64 queries and two steps of 32 keys of 1152 bytes are 150 KiB of shared memory; the next step
// loads while one is computed.
//
// For the scores a warp has 16 rows and 16 of the 32 keys; for the sums it has 32 rows and a quarter of the values, so
// that a value is read by two warps and not by four.
#include "latent_tiles.h"

#include "online_softmax.h"
#include "ptx.h"

namespace tenon::ops::cuda {
namespace {

constexpr int kWarps = 8, kThreads = kWarps * 32, kRows = 64, kKeys = 32;
constexpr int kRowGroups = kRows / 16, kKeyGroups = kKeys / 16;   // of the scores
constexpr int kSumRows = 32, kColumns = kMostLatentValueDim / 4;  // of a warp's sums
constexpr int kWeightStride = kKeys + 8;

static_assert(kRowGroups * kKeyGroups == kWarps && kRows / kSumRows * 4 == kWarps);

// Rows of an odd number of 16 bytes: ldmatrix meets no bank twice.
__host__ __device__ constexpr int stride_of(int dim) { return (dim + 15) / 16 * 16 + 8; }

size_t shared_bytes(int dim) {
  return sizeof(bf16) * static_cast<size_t>((kRows + 2 * kKeys) * stride_of(dim) + kRows * kWeightStride);
}

// Rows to a tile of `count`, a warp a row, zeros beyond `dim`; row_at(row) is null for a row of zeros.
template <class RowAt>
__device__ void load_rows(bf16* tile, int count, int dim, const bf16* any, RowAt row_at) {
  const int stride = stride_of(dim), lane = threadIdx.x % 32;
  for (int row = threadIdx.x / 32; row < count; row += kWarps) {
    const bf16* from = row_at(row);
    for (int column = lane * 8; column < stride - 8; column += 32 * 8) {
      const bool valid = from && column < dim;
      ptx::cp_async_16(tile + row * stride + column, valid ? from + column : any, valid);
    }
  }
}

__global__ void __launch_bounds__(kThreads, 1)
    latent_kernel(const __grid_constant__ PagedBatch batch, const __grid_constant__ PagedOperands<bf16> in,
                  const __grid_constant__ KeySplits splits, bool decodes) {
  for (int64_t item = blockIdx.y;; item += gridDim.y) {
    PagedSequence s;
    int first_row = 0, last_row = 0, row_step = kRows, split = 0;
    if (decodes) {
      const SplitOfSequence found = find_split(batch, splits, item);
      if (found.sequence.queries == 0) return;
      s = found.sequence, split = found.split;
      first_row = blockIdx.x * kRows;
      last_row = s.queries * in.heads;
      row_step = gridDim.x * kRows;
    } else {
      const PrefillTile tile = prefill_tile(batch, in.group, kRows, static_cast<int>(gridDim.x - 1 - blockIdx.x));
      s = tile.sequence;
      first_row = tile.first_row;
      last_row = min(first_row + kRows, s.queries * in.heads);
    }
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, stride = stride_of(in.dim);
    const int row_group = warp % kRowGroups * 16, key_group = warp / kRowGroups;
    const int sum_rows = warp % 2 * kSumRows, sum_column = warp / 2 * kColumns;

    bf16* tile_q = dynamic_shared<bf16>();
    bf16* tiles = tile_q + kRows * stride;
    bf16* weights = tiles + 2 * kKeys * stride;  // [64, 32]
    TENON_SHARED(maxima, float[kKeyGroups][kRows]);
    TENON_SHARED(totals, float[kKeyGroups][kRows]);
    TENON_SHARED(factors, float[kRows]);

    for (int row0 = first_row; row0 < last_row; row0 += row_step) {
      const int rows = min(kRows, last_row - row0);
      KeyRange keys = batch.keys_of(s, row0 / in.heads, (row0 + rows - 1) / in.heads);
      if (decodes) {
        if (split < splits.first(keys) || split > splits.last(keys)) continue;
        const int split_keys = splits.pages * kPage;
        keys = {max(keys.begin, split * split_keys), min(keys.end, (split + 1) * split_keys)};
      }
      const int first_step = keys.begin / kKeys, steps = (keys.end + kKeys - 1) / kKeys;
      int entry = first_step < steps ? batch.entry(s, first_step * kKeys / kPage) : 0;  // of the next step to fetch
      const auto fetch = [&](int step) {
        const int key0 = step * kKeys;
        const int64_t page = batch.page(s, key0 / kPage, entry);
        if (step + 1 < steps) entry = batch.entry(s, (step + 1) * kKeys / kPage);
        const int valid = page < 0 ? 0 : min(kKeys, keys.end - key0);
        const int64_t at = page < 0 ? 0 : in.page_row(page, 0) + key0 % kPage;
        load_rows(tiles + step % 2 * kKeys * stride, kKeys, in.dim, in.q,
                  [&](int row) { return row < valid ? in.keys + (at + row) * in.dim : nullptr; });
        ptx::cp_async_commit();
      };
      load_rows(tile_q, kRows, in.dim, in.q,
                [&](int row) { return row < rows ? in.q + in.query_row(s, 0, row0 + row) * in.dim : nullptr; });
      ptx::cp_async_commit();
      if (first_step < steps) fetch(first_step);

      KeyRange range[2];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = row_group + lane / 4 + half * 8;
        range[half] = row < rows ? batch.keys_of(s, (row0 + row) / in.heads) : KeyRange{0, 0};
      }
      SoftmaxRows softmax;  // totals: of this warp's keys
      float sum[2][kColumns / 8][4] = {};
      for (int step = first_step; step < steps; ++step) {
        ptx::cp_async_wait<0>();
        __syncthreads();  // the step is here, and the one before and its weights have been read by all
        if (step + 1 < steps) fetch(step + 1);
        const bf16* tile = tiles + step % 2 * kKeys * stride;

        float score[2][4] = {};
        if (row_group < rows) {
          const bf16* own_q = tile_q + (row_group + lane % 16) * stride + lane / 16 * 8;
          const bf16* own_k = tile + (key_group * 16 + lane / 16 * 8 + lane % 8) * stride + lane / 8 % 2 * 8;
#pragma unroll 4
          for (int d = 0; d < stride - 8; d += 16) {
            uint32_t q[4], k[4];
            ptx::ldmatrix_x4(q, own_q + d);
            ptx::ldmatrix_x4(k, own_k + d);
            ptx::mma_m16n8k16(score[0], q, k[0], k[1]);
            ptx::mma_m16n8k16(score[1], q, k[2], k[3]);
          }
        }
        const int key0 = step * kKeys + key_group * 16;
        scale_and_mask(score, batch.scale, [&](int half, int key) { return range[half].has(key0 + key); });
        float most[2], factor[2];
        row_maxima(score, most);
        const int row = row_group + lane / 4;
        if (lane % 4 == 0) maxima[key_group][row] = most[0], maxima[key_group][row + 8] = most[1];
        __syncthreads();
#pragma unroll
        for (int half = 0; half < 2; ++half) most[half] = fmaxf(maxima[0][row + half * 8], maxima[1][row + half * 8]);
        uint32_t weight[2][2];
        add_scores(score, most, softmax, weight, factor);
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          if (key_group == 0 && lane % 4 == 0) factors[row + half * 8] = factor[half];
#pragma unroll
          for (int j = 0; j < 2; ++j)
            *reinterpret_cast<uint32_t*>(weights + (row + half * 8) * kWeightStride + key_group * 16 + j * 8 +
                                         lane % 4 * 2) = weight[j][half];
        }
        __syncthreads();

        if (sum_rows < rows && sum_column < in.value_dim) {
          uint32_t w[2][kKeys / 16][4];
#pragma unroll
          for (int m = 0; m < 2; ++m) {
#pragma unroll
            for (int k = 0; k < kKeys / 16; ++k)
              ptx::ldmatrix_x4(w[m][k],
                               weights + (sum_rows + m * 16 + lane % 16) * kWeightStride + k * 16 + lane / 16 * 8);
            const float upper = factors[sum_rows + m * 16 + lane / 4],
                        lower = factors[sum_rows + m * 16 + lane / 4 + 8];
#pragma unroll
            for (int c = 0; c < kColumns / 8; ++c)
#pragma unroll
              for (int e = 0; e < 4; ++e) sum[m][c][e] *= e < 2 ? upper : lower;
          }
#pragma unroll
          for (int c = 0; c < kColumns / 16; ++c) {
            if (sum_column + c * 16 >= in.value_dim) break;
#pragma unroll
            for (int k = 0; k < kKeys / 16; ++k) {
              uint32_t v[4];
              ptx::ldmatrix_x4_trans(v, tile + (k * 16 + lane % 16) * stride + sum_column + c * 16 + lane / 16 * 8);
#pragma unroll
              for (int m = 0; m < 2; ++m) {
                ptx::mma_m16n8k16(sum[m][c * 2], w[m][k], v[0], v[1]);
                ptx::mma_m16n8k16(sum[m][c * 2 + 1], w[m][k], v[2], v[3]);
              }
            }
          }
        }
      }

      ptx::cp_async_wait<0>();  // of rows without keys, too
      finish_totals(softmax);
      if (lane % 4 == 0) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int row = row_group + lane / 4 + half * 8;
          totals[key_group][row] = softmax.total[half];
          maxima[key_group][row] = softmax.largest[half];
        }
      }
      __syncthreads();
#pragma unroll
      for (int m = 0; m < 2; ++m)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int row = sum_rows + m * 16 + lane / 4 + half * 8;
          if (row >= rows) continue;
          const int query = (row0 + row) / in.heads, head = (row0 + row) % in.heads;
          const float total = totals[0][row] + totals[1][row];
          const KeyRange own = batch.keys_of(s, query);
          const int first = splits.first(own), last = splits.last(own);
          if (decodes && (split < first || split > last || !splits.serves(s, query))) continue;
          const bool whole = !decodes || first == last;
          const float scale = total == 0 ? 0 : 1 / total;
          bf16* out = in.out + in.query_row(s, 0, row0 + row) * in.value_dim;
          const int64_t at = whole ? 0 : splits.row(s, query, head) * splits.count + split;
          if (!whole && sum_column == 0 && lane % 4 == 0) splits.totals[at] = make_float2(maxima[0][row], total);
#pragma unroll
          for (int c = 0; c < kColumns / 8; ++c) {
            const int column = sum_column + c * 8 + lane % 4 * 2;
            if (column >= in.value_dim) continue;
            const float x = sum[m][c][half * 2], y = sum[m][c][half * 2 + 1];
            if (whole)
              *reinterpret_cast<uint32_t*>(out + column) = pack_bf16(x * scale, y * scale);
            else
              *reinterpret_cast<float2*>(splits.sums + at * splits.stride + column) = make_float2(x, y);
          }
        }
      __syncthreads();  // the totals and queries have been read
    }
    if (!decodes) return;
  }
}

}  // namespace

size_t latent_tiles_shared_bytes(int64_t dim) {
  return shared_bytes(static_cast<int>(dim)) + sizeof(float) * (2 * kKeyGroups + 1) * kRows;
}

void latent_tiles(const PagedBatch& batch, const PagedOperands<bf16>& operands, const KeySplits* splits) {
  LaunchShape shape{.block = dim3(kThreads), .shared_bytes = shared_bytes(operands.dim)};
  if (splits) {
    const int row_tiles = (operands.heads + kRows - 1) / kRows;
    shape.grid = dim3(static_cast<unsigned>(row_tiles),
                      static_cast<unsigned>(split_blocks(batch, *splits, row_tiles, /*blocks of a processor=*/1)));
  } else {
    shape.grid = dim3(static_cast<unsigned>(most_prefill_tiles(batch.tokens, batch.sequences, operands.group, kRows)));
  }
  launch(latent_kernel, shape, batch, operands, splits ? *splits : KeySplits{.pages = 1}, splits != nullptr);
}

}  // namespace tenon::ops::cuda
