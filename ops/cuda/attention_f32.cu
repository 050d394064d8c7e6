// Attention of f32 tensors in true f32: the passes of attention_forward.cu, attention_dq.cu and attention_dkdv.cu with
// multiply-adds in place of the tensor cores, which round f32 to TF32. A thread's 4 x 4 scores take eight accesses of
// 16 bytes for 64 multiply-adds.
#include "attention_f32.h"

#include "attention_sequences.h"
#include "ptx.h"

namespace tenon::ops::cuda {
namespace {

using namespace f32;

template <int kDim, int kR, int kOwnTiles, int kOtherTiles>
constexpr size_t kSharedBytes = ((kOwnTiles * kOwn<kR> + kOtherTiles * kOther) * kStride<kDim> +
                                 kOwn<kR> * kWeightStride + 2 * kOther) *
                                sizeof(float);

// Keys that the queries of a tile see, and queries that see the keys of one, in steps of 32 from the sequence's begin.
struct Steps {
  int begin, end;
};
__device__ Steps steps_of(const SequenceTile& tile, int rows, int below, int above) {
  return {max(0, tile.first - below) / kOther, (min(tile.length, tile.first + rows + above) + kOther - 1) / kOther};
}

template <int kDim, int kR>
__global__ void __launch_bounds__(kThreads, 2)
    forward_kernel(const __grid_constant__ PackedSequences p, float scale2, const float* q, const float* k,
                   const float* v, float* out, float* lse) {
  const auto [slot, head] = find_place<true>(p.heads);
  if (slot == 0 && head == 0) check_sequences(p);
  const SequenceTile tile = find_tile<kOwn<kR>>(p, slot);
  if (tile.length == 0) return;
  float* tile_q = dynamic_shared<float>();
  float* tile_k = tile_q + kOwn<kR> * kStride<kDim>;
  float* tile_v = tile_k + kOther * kStride<kDim>;
  float* weights = tile_v + kOther * kStride<kDim>;
  const int kv_head = head / p.group;
  const int rows = min(kOwn<kR>, tile.length - tile.first);
  const int group = static_cast<int>(threadIdx.x) / kLanes, lane = static_cast<int>(threadIdx.x) % kLanes;
  const int64_t k_stride = int64_t{p.kv_heads} * p.dim, v_stride = int64_t{p.kv_heads} * p.value_dim;
  const int64_t first_row = int64_t{tile.start + tile.first} * p.heads + head;
  load_tile<kOwn<kR>, kDim>(tile_q, q + first_row * p.dim, int64_t{p.heads} * p.dim, rows, p.dim);

  float sums[kR][kDim / 32][4] = {}, largest[kR], sum[kR] = {};
#pragma unroll
  for (int r = 0; r < kR; ++r) largest[r] = -INFINITY;
  const Steps steps = steps_of(tile, rows, p.before, p.after);
  for (int j = steps.begin; j < steps.end; ++j) {
    const int key = j * kOther, keys = tile.length - key;
    __syncthreads();
    load_tile<kOther, kDim>(tile_k, k + (tile.start + key) * k_stride + kv_head * p.dim, k_stride, keys, p.dim);
    load_tile<kOther, kDim>(tile_v, v + (tile.start + key) * v_stride + kv_head * p.value_dim, v_stride, keys,
                            p.value_dim);
    __syncthreads();
    float score[kR][4];
    dot_rows<kDim>(score, tile_q, tile_k);
#pragma unroll
    for (int r = 0; r < kR; ++r) {
      const int query = tile.first + group * kR + r;
      float now = largest[r];
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        const int column = lane + c * kLanes;
        const bool seen = column < keys && is_visible(p, query, key + column);
        score[r][c] = seen ? score[r][c] * scale2 : -INFINITY;
        now = fmaxf(now, score[r][c]);
      }
#pragma unroll
      for (int lanes = 1; lanes < kLanes; lanes *= 2) now = fmaxf(now, __shfl_xor_sync(0xFFFFFFFFu, now, lanes));
      const float factor = now == largest[r] ? 1.0f : ptx::exp2_approx(largest[r] - now);
      const float shift = now == -INFINITY ? 0.0f : now;
      largest[r] = now;
      float total = 0;
#pragma unroll
      for (int c = 0; c < 4; ++c) total += score[r][c] = ptx::exp2_approx(score[r][c] - shift);
      sum[r] = sum[r] * factor + total;
#pragma unroll
      for (int i = 0; i < kDim / 32; ++i)
#pragma unroll
        for (int e = 0; e < 4; ++e) sums[r][i][e] *= factor;
    }
    __syncwarp();  // the weights before have been read
    store_weights(weights, score);
    __syncwarp();
    add_rows<kDim>(sums, weights, tile_v);
  }
#pragma unroll
  for (int r = 0; r < kR; ++r) {
#pragma unroll
    for (int lanes = 1; lanes < kLanes; lanes *= 2) sum[r] += __shfl_xor_sync(0xFFFFFFFFu, sum[r], lanes);
    const int row = group * kR + r;
    if (lane == 0 && row < rows) lse[first_row + int64_t{row} * p.heads] = largest[r] * kLn2 + logf(sum[r]);
  }
  store_sums<kDim>(
      sums, [&](int r) { return 1.0f / sum[r]; }, out + first_row * p.value_dim, int64_t{p.heads} * p.value_dim, rows,
      p.value_dim);
}

template <int kDim, int kR>
__global__ void __launch_bounds__(kThreads, 2)
    dq_kernel(const __grid_constant__ PackedSequences p, float scale2, const float* dout, const float* q,
              const float* k, const float* v, const float2* stats, float* dq) {
  const auto [slot, head] = find_place<true>(p.heads);
  const SequenceTile tile = find_tile<kOwn<kR>>(p, slot);
  if (tile.length == 0) return;
  float* tile_q = dynamic_shared<float>();
  float* tile_dout = tile_q + kOwn<kR> * kStride<kDim>;
  float* tile_k = tile_dout + kOwn<kR> * kStride<kDim>;
  float* tile_v = tile_k + kOther * kStride<kDim>;
  float* weights = tile_v + kOther * kStride<kDim>;
  const int kv_head = head / p.group;
  const int rows = min(kOwn<kR>, tile.length - tile.first);
  const int group = static_cast<int>(threadIdx.x) / kLanes, lane = static_cast<int>(threadIdx.x) % kLanes;
  const int64_t k_stride = int64_t{p.kv_heads} * p.dim, v_stride = int64_t{p.kv_heads} * p.value_dim;
  const int64_t first_row = int64_t{tile.start + tile.first} * p.heads + head;
  load_tile<kOwn<kR>, kDim>(tile_q, q + first_row * p.dim, int64_t{p.heads} * p.dim, rows, p.dim);
  load_tile<kOwn<kR>, kDim>(tile_dout, dout + first_row * p.value_dim, int64_t{p.heads} * p.value_dim, rows,
                            p.value_dim);
  float2 stat[kR];
#pragma unroll
  for (int r = 0; r < kR; ++r) {
    const int row = group * kR + r;
    stat[r] = row < rows ? stats[int64_t{head} * p.tokens + tile.start + tile.first + row] : float2{INFINITY, 0};
  }

  float sums[kR][kDim / 32][4] = {};
  const Steps steps = steps_of(tile, rows, p.before, p.after);
  for (int j = steps.begin; j < steps.end; ++j) {
    const int key = j * kOther, keys = tile.length - key;
    __syncthreads();
    load_tile<kOther, kDim>(tile_k, k + (tile.start + key) * k_stride + kv_head * p.dim, k_stride, keys, p.dim);
    load_tile<kOther, kDim>(tile_v, v + (tile.start + key) * v_stride + kv_head * p.value_dim, v_stride, keys,
                            p.value_dim);
    __syncthreads();
    float score[kR][4], dp[kR][4];
    dot_rows<kDim>(score, tile_q, tile_k);
    dot_rows<kDim>(dp, tile_dout, tile_v);
#pragma unroll
    for (int r = 0; r < kR; ++r)
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        const int column = lane + c * kLanes;
        const bool seen = column < keys && is_visible(p, tile.first + group * kR + r, key + column);
        score[r][c] = seen ? ptx::exp2_approx(score[r][c] * scale2 - stat[r].x) * (dp[r][c] - stat[r].y) : 0.0f;
      }
    __syncwarp();  // the weights before have been read
    store_weights(weights, score);
    __syncwarp();
    add_rows<kDim>(sums, weights, tile_k);
  }
  store_sums<kDim>(
      sums, [&](int) { return p.scale; }, dq + first_row * p.dim, int64_t{p.heads} * p.dim, rows, p.dim);
}

template <int kDim, int kR>
__global__ void __launch_bounds__(kThreads, 2)
    dkdv_kernel(const __grid_constant__ PackedSequences p, float scale2, const float* dout, const float* q,
                const float* k, const float* v, const float2* stats, float* dk, float* dv) {
  const auto [slot, kv_head] = find_place<false>(p.kv_heads);
  const SequenceTile tile = find_tile<kOwn<kR>>(p, slot);
  if (tile.length == 0) return;
  float* tile_k = dynamic_shared<float>();
  float* tile_v = tile_k + kOwn<kR> * kStride<kDim>;
  float* tile_q = tile_v + kOwn<kR> * kStride<kDim>;
  float* tile_dout = tile_q + kOther * kStride<kDim>;
  float* weights = tile_dout + kOther * kStride<kDim>;
  float2* tile_stats = reinterpret_cast<float2*>(weights + kOwn<kR> * kWeightStride);
  const int rows = min(kOwn<kR>, tile.length - tile.first);
  const int group = static_cast<int>(threadIdx.x) / kLanes, lane = static_cast<int>(threadIdx.x) % kLanes;
  const int64_t q_stride = int64_t{p.heads} * p.dim, dout_stride = int64_t{p.heads} * p.value_dim;
  const int64_t first_row = int64_t{tile.start + tile.first} * p.kv_heads + kv_head;
  load_tile<kOwn<kR>, kDim>(tile_k, k + first_row * p.dim, int64_t{p.kv_heads} * p.dim, rows, p.dim);
  load_tile<kOwn<kR>, kDim>(tile_v, v + first_row * p.value_dim, int64_t{p.kv_heads} * p.value_dim, rows, p.value_dim);

  float dk_sums[kR][kDim / 32][4] = {}, dv_sums[kR][kDim / 32][4] = {};
  const Steps steps = steps_of(tile, rows, p.after, p.before);
  for (int head = kv_head * p.group; head < (kv_head + 1) * p.group; ++head)
    for (int j = steps.begin; j < steps.end; ++j) {
      const int query = j * kOther, queries = tile.length - query;
      __syncthreads();
      load_tile<kOther, kDim>(tile_q, q + (tile.start + query) * q_stride + head * p.dim, q_stride, queries, p.dim);
      load_tile<kOther, kDim>(tile_dout, dout + (tile.start + query) * dout_stride + head * p.value_dim, dout_stride,
                              queries, p.value_dim);
      if (threadIdx.x < kOther)
        tile_stats[threadIdx.x] = static_cast<int>(threadIdx.x) < queries
                                      ? stats[int64_t{head} * p.tokens + tile.start + query + threadIdx.x]
                                      : float2{INFINITY, 0};
      __syncthreads();
      float score[kR][4], dp[kR][4];
      dot_rows<kDim>(score, tile_k, tile_q);
      dot_rows<kDim>(dp, tile_v, tile_dout);
#pragma unroll
      for (int r = 0; r < kR; ++r)
#pragma unroll
        for (int c = 0; c < 4; ++c) {
          const int column = lane + c * kLanes;
          const float2 stat = tile_stats[column];
          const bool seen = is_visible(p, query + column, tile.first + group * kR + r);
          score[r][c] = seen ? ptx::exp2_approx(score[r][c] * scale2 - stat.x) : 0.0f;
          dp[r][c] = score[r][c] * (dp[r][c] - stat.y);
        }
      __syncwarp();  // the weights before have been read
      store_weights(weights, score);
      __syncwarp();
      add_rows<kDim>(dv_sums, weights, tile_dout);
      __syncwarp();
      store_weights(weights, dp);
      __syncwarp();
      add_rows<kDim>(dk_sums, weights, tile_q);
    }
  store_sums<kDim>(
      dk_sums, [&](int) { return p.scale; }, dk + first_row * p.dim, int64_t{p.kv_heads} * p.dim, rows, p.dim);
  store_sums<kDim>(
      dv_sums, [](int) { return 1.0f; }, dv + first_row * p.value_dim, int64_t{p.kv_heads} * p.value_dim, rows,
      p.value_dim);
}

template <int kDim, int kR, int kOwnTiles>
LaunchShape shape_of(const PackedSequences& p, int heads) {
  return {
      .grid = p.blocks(kOwn<kR>, heads), .block = dim3(kThreads), .shared_bytes = kSharedBytes<kDim, kR, kOwnTiles, 2>};
}

template <int kDim, int kR>
void run_backward(const PackedSequences& p, const float* dout, const float* q, const float* k, const float* v,
                  const float2* stats, float* dq, float* dk, float* dv) {
  launch(dq_kernel<kDim, kR>, shape_of<kDim, kR, 2>(p, p.heads), p, scale2(p.scale), dout, q, k, v, stats, dq);
  launch(dkdv_kernel<kDim, kR>, shape_of<kDim, kR, 2>(p, p.kv_heads), p, scale2(p.scale), dout, q, k, v, stats, dk, dv);
}

}  // namespace

void attention_forward_f32(const PackedSequences& p, const float* q, const float* k, const float* v, float* out,
                           float* lse) {
  const auto run = [&]<int kDim, int kR>() {
    launch(forward_kernel<kDim, kR>, shape_of<kDim, kR, 1>(p, p.heads), p, scale2(p.scale), q, k, v, out, lse);
  };
  const int dim = std::max(p.dim, p.value_dim);
  if (dim <= 64)
    run.template operator()<64, 4>();
  else if (dim <= 128)
    run.template operator()<128, 4>();
  else
    run.template operator()<256, 2>();
}

void attention_backward_f32(const PackedSequences& p, const float* dout, const float* q, const float* k, const float* v,
                            const float2* stats, float* dq, float* dk, float* dv) {
  const int dim = std::max(p.dim, p.value_dim);
  const auto f = dim <= 64 ? &run_backward<64, 4> : dim <= 128 ? &run_backward<128, 4> : &run_backward<256, 2>;
  f(p, dout, q, k, v, stats, dq, dk, dv);
}

}  // namespace tenon::ops::cuda
