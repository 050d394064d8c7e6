// Attention on pages in f32 arithmetic, for f32 and for dims that the tensor cores' tiles do not take. A block has 16
// rows of queries; 32 keys and values at a time lie in shared memory as f32, 16 where it is too small for that. A row
// belongs to the 16 lanes of a half-warp.
#include <algorithm>
#include <string>

#include "../../runtime/cuda/limits.h"
#include "../../runtime/error.h"
#include "paged_operands.h"

namespace tenon::ops::cuda {
namespace {

constexpr int kThreads = 128, kRows = 16;
constexpr int kLanes = 16;                                // of a row
constexpr int kRowsOfThread = kRows * kLanes / kThreads;  // rows thread / 16 and 8 further
constexpr int kRowStep = kRows / kRowsOfThread;
constexpr int kMostDim = 576, kMostValueDim = 512;

// Rows are read four elements at a time; four more let the lanes of a quarter-warp meet different banks.
__host__ __device__ constexpr int padded(int dim) { return (dim + 3) / 4 * 4 + 4; }

size_t shared_bytes(int keys, int dim, int value_dim, bool values_in_keys) {
  return sizeof(float) *
         static_cast<size_t>((kRows + keys) * padded(dim) + (values_in_keys ? 0 : keys * value_dim) + kRows * keys);
}

// A warp a row; row_at(row) is null for one of zeros.
template <int kCount, class RowAt>
__device__ void load_rows(float* tile, int stride, int dim, RowAt row_at) {
  for (int row = threadIdx.x / 32; row < kCount; row += kThreads / 32) {
    const auto* from = row_at(row);
    for (int column = threadIdx.x % 32; column < stride; column += 32)
      tile[row * stride + column] = from && column < dim ? as_float(from[column]) : 0;
  }
}

template <int kMost, int kKeys, class T>
__global__ void __launch_bounds__(kThreads, kMost <= 128 ? 3 : 2)
    plain_kernel(const __grid_constant__ PagedBatch batch, const __grid_constant__ PagedOperands<T> in,
                 const __grid_constant__ KeySplits splits, bool decodes, bool values_in_keys) {
  constexpr int kColumns = kMost / kLanes;  // of values, a thread
  constexpr int kKeysOfThread = kKeys / kLanes;
  for (int64_t item = blockIdx.x;; item += gridDim.x) {
    PagedSequence s;
    int first_row = 0, last_row = 0, split = 0;
    if (decodes) {
      const SplitOfSequence found = find_split(batch, splits, item);
      if (found.sequence.queries == 0) return;
      s = found.sequence, split = found.split;
      last_row = s.queries * in.group;
    } else {
      const PrefillTile tile = prefill_tile(batch, in.group, kRows, static_cast<int>(gridDim.x - 1 - blockIdx.x));
      s = tile.sequence;
      first_row = tile.first_row;
      last_row = min(first_row + kRows, s.queries * in.group);
    }
    const int kv_head = blockIdx.y, lane = threadIdx.x % kLanes, own_row = threadIdx.x / kLanes;
    const int split_keys = splits.pages * kPage;
    const int stride = padded(in.dim), value_stride = values_in_keys ? stride : in.value_dim;
    float* q = dynamic_shared<float>();
    float* k = q + kRows * stride;
    float* weights = k + kKeys * stride;
    float* v = values_in_keys ? k : weights + kRows * kKeys;

    for (int row0 = first_row; row0 < last_row; row0 += kRows) {
      const int rows = min(kRows, last_row - row0);
      KeyRange keys = batch.keys_of(s, row0 / in.group, (row0 + rows - 1) / in.group);
      if (decodes) {
        if (split < splits.first(keys) || split > splits.last(keys)) continue;
        keys = {max(keys.begin, split * split_keys), min(keys.end, (split + 1) * split_keys)};
      }
      load_rows<kRows>(q, stride, in.dim, [&](int row) {
        return row < rows ? in.q + in.query_row(s, kv_head, row0 + row) * in.dim : nullptr;
      });
      KeyRange range[kRowsOfThread];
      float largest[kRowsOfThread], total[kRowsOfThread], sum[kRowsOfThread][kColumns] = {};
#pragma unroll
      for (int r = 0; r < kRowsOfThread; ++r) {
        const int row = own_row + r * kRowStep;
        range[r] = row < rows ? batch.keys_of(s, (row0 + row) / in.group) : KeyRange{0, 0};
        largest[r] = -INFINITY;
        total[r] = 0;
      }

      for (int key0 = keys.begin / kKeys * kKeys; key0 < keys.end; key0 += kKeys) {
        const int64_t page = batch.page(s, key0 / kPage);
        const int valid = page < 0 ? 0 : min(kKeys, keys.end - key0);
        const int64_t at = page < 0 ? 0 : in.page_row(page, kv_head) + key0 % kPage;
        __syncthreads();  // the keys before have been read
        load_rows<kKeys>(k, stride, in.dim,
                         [&](int row) { return row < valid ? in.keys + (at + row) * in.dim : nullptr; });
        if (!values_in_keys)
          load_rows<kKeys>(v, value_stride, in.value_dim,
                           [&](int row) { return row < valid ? in.values + (at + row) * in.value_dim : nullptr; });
        __syncthreads();

        float score[kRowsOfThread][kKeysOfThread] = {};
        for (int d = 0; d < in.dim; d += 4) {
          Pack<float, 4> a[kRowsOfThread], b[kKeysOfThread];
#pragma unroll
          for (int r = 0; r < kRowsOfThread; ++r) a[r] = load<4>(q + (own_row + r * kRowStep) * stride + d);
#pragma unroll
          for (int j = 0; j < kKeysOfThread; ++j) b[j] = load<4>(k + (lane + j * kLanes) * stride + d);
#pragma unroll
          for (int r = 0; r < kRowsOfThread; ++r)
#pragma unroll
            for (int j = 0; j < kKeysOfThread; ++j)
#pragma unroll
              for (int e = 0; e < 4; ++e) score[r][j] += a[r][e] * b[j][e];
        }
#pragma unroll
        for (int r = 0; r < kRowsOfThread; ++r) {
          float most = largest[r];
#pragma unroll
          for (int j = 0; j < kKeysOfThread; ++j) {
            score[r][j] = range[r].has(key0 + lane + j * kLanes) ? score[r][j] * batch.scale : -INFINITY;
            most = fmaxf(most, score[r][j]);
          }
          for (int lanes = kLanes / 2; lanes > 0; lanes /= 2)
            most = fmaxf(most, __shfl_xor_sync(kAllLanes, most, lanes));
          const float shift = most == -INFINITY ? 0 : most, factor = exp2f(largest[r] - shift);
          largest[r] = most;
          total[r] *= factor;
#pragma unroll
          for (int c = 0; c < kColumns; ++c) sum[r][c] *= factor;
#pragma unroll
          for (int j = 0; j < kKeysOfThread; ++j) {
            const float weight = exp2f(score[r][j] - shift);
            total[r] += weight;
            weights[(own_row + r * kRowStep) * kKeys + lane + j * kLanes] = weight;
          }
        }
        __syncwarp();
        for (int key = 0; key < kKeys; ++key) {
          float w[kRowsOfThread];
#pragma unroll
          for (int r = 0; r < kRowsOfThread; ++r) w[r] = weights[(own_row + r * kRowStep) * kKeys + key];
#pragma unroll
          for (int c = 0; c < kColumns; ++c) {
            const int column = c * kLanes + lane;
            const float value = column < in.value_dim ? v[key * value_stride + column] : 0;
#pragma unroll
            for (int r = 0; r < kRowsOfThread; ++r) sum[r][c] += w[r] * value;
          }
        }
      }

#pragma unroll
      for (int r = 0; r < kRowsOfThread; ++r) {
        for (int lanes = kLanes / 2; lanes > 0; lanes /= 2) total[r] += __shfl_xor_sync(kAllLanes, total[r], lanes);
        const int row = row0 + own_row + r * kRowStep;
        if (row >= row0 + rows) continue;
        const int query = row / in.group, head = kv_head * in.group + row % in.group;
        const KeyRange own = batch.keys_of(s, query);
        const int first = splits.first(own), last = splits.last(own);
        if (decodes && (split < first || split > last || !splits.serves(s, query))) continue;
        if (!decodes || first == last) {
          const float scale = total[r] == 0 ? 0 : 1 / total[r];
          T* out = in.out + in.query_row(s, kv_head, row) * in.value_dim;
#pragma unroll
          for (int c = 0; c < kColumns; ++c)
            if (c * kLanes + lane < in.value_dim) out[c * kLanes + lane] = round_to<T>(sum[r][c] * scale);
        } else {
          const int64_t at = splits.row(s, query, head) * splits.count + split;
          if (lane == 0) splits.totals[at] = make_float2(largest[r], total[r]);
#pragma unroll
          for (int c = 0; c < kColumns; ++c)
            if (c * kLanes + lane < in.value_dim) splits.sums[at * splits.stride + c * kLanes + lane] = sum[r][c];
        }
      }
      __syncthreads();  // the queries have been read
    }
    if (!decodes) return;
  }
}

}  // namespace

template <class T>
void paged_plain(const PagedBatch& batch, const PagedOperands<T>& operands, const KeySplits* splits,
                 bool values_in_keys) {
  if (operands.dim > kMostDim || operands.value_dim > kMostValueDim)
    throw Error("attention on pages: keys of " + std::to_string(operands.dim) + " and values of " +
                std::to_string(operands.value_dim) + " numbers; the CUDA kernels take up to " +
                std::to_string(kMostDim) + " and " + std::to_string(kMostValueDim));
  const int64_t x = splits ? split_blocks(batch, *splits, operands.kv_heads, 2)
                           : most_prefill_tiles(batch.tokens, batch.sequences, operands.group, kRows);
  const LaunchShape shape{.grid = dim3(static_cast<unsigned>(x), static_cast<unsigned>(operands.kv_heads)),
                          .block = dim3(kThreads)};
  const auto run = [&]<int kMost, int kKeys = 32>() {
    LaunchShape with_shared = shape;
    with_shared.shared_bytes = shared_bytes(kKeys, operands.dim, operands.value_dim, values_in_keys);
    launch(plain_kernel<kMost, kKeys, T>, with_shared, batch, operands, splits ? *splits : KeySplits{.pages = 1},
           splits != nullptr, values_in_keys);
  };
  // Keys of 576 and values of 128 fit everywhere.
  if (operands.value_dim <= 64)
    run.template operator()<64>();
  else if (operands.value_dim <= 128)
    run.template operator()<128>();
  else if (shared_bytes(32, operands.dim, operands.value_dim, values_in_keys) <= tenon::cuda::shared_memory_limit())
    run.template operator()<kMostValueDim>();
  else
    run.template operator()<kMostValueDim, 16>();
}

template void paged_plain(const PagedBatch&, const PagedOperands<float>&, const KeySplits*, bool);
template void paged_plain(const PagedBatch&, const PagedOperands<bf16>&, const KeySplits*, bool);

}  // namespace tenon::ops::cuda
