// What attention's passes need of single rows.
#include <algorithm>

#include "attention_sequences.h"
#include "vectors.h"

namespace tenon::ops::cuda {
namespace {

constexpr int kThreads = 256;

// y[r][c] = x[r][c], or 0 where x has no such column.
__global__ void __launch_bounds__(kThreads)
    copy_columns_kernel(const bf16* x, int64_t rows, int from, int to, bf16* y) {
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < rows * to; i += int64_t{gridDim.x} * kThreads) {
    const int64_t row = i / to, column = i - row * to;
    y[i] = column < from ? x[row * from + column] : bf16{};
  }
}

// stats[h][t] = {lse log2(e), dout . out}: eight lanes a row, kWidth elements an access.
template <int kWidth, class T>
__global__ void __launch_bounds__(kThreads) row_stats_kernel(const __grid_constant__ PackedSequences p, const T* dout,
                                                             const T* out, const float* lse, float2* stats) {
  if (blockIdx.x == 0) check_sequences(p);
  constexpr int kLanes = 8;
  const int dim = p.value_dim;
  const int64_t row = int64_t{blockIdx.x} * (kThreads / kLanes) + threadIdx.x / kLanes;
  const bool valid = row < int64_t{p.tokens} * p.heads;
  float sum = 0;
  for (int c = static_cast<int>(threadIdx.x) % kLanes * kWidth; valid && c < dim; c += kLanes * kWidth) {
    const auto a = load<kWidth>(dout + row * dim + c), b = load<kWidth>(out + row * dim + c);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) sum += a[i] * b[i];
  }
#pragma unroll
  for (int lanes = 1; lanes < kLanes; lanes *= 2) sum += __shfl_xor_sync(0xFFFFFFFFu, sum, lanes);
  if (valid && threadIdx.x % kLanes == 0) {
    const int64_t token = row / p.heads, head = row - token * p.heads;
    stats[head * p.tokens + token] = {lse[row] * kLog2E, sum};
  }
}

template <int kWidth, class T>
void row_stats(const PackedSequences& p, const T* dout, const T* out, const float* lse, float2* stats) {
  const int64_t rows = int64_t{p.tokens} * p.heads;
  launch(row_stats_kernel<kWidth, T>,
         {.grid = dim3(static_cast<unsigned>((rows * 8 + kThreads - 1) / kThreads)), .block = dim3(kThreads)}, p, dout,
         out, lse, stats);
}

}  // namespace

void attention_row_stats(const PackedSequences& p, const bf16* dout, const bf16* out, const float* lse, float2* stats) {
  row_stats<8>(p, dout, out, lse, stats);
}
void attention_row_stats(const PackedSequences& p, const float* dout, const float* out, const float* lse,
                         float2* stats) {
  row_stats<1>(p, dout, out, lse, stats);
}

void attention_copy_columns(const bf16* x, int64_t rows, int from, int to, bf16* y) {
  const int64_t blocks = std::min<int64_t>((rows * to + kThreads - 1) / kThreads, 1 << 14);
  launch(copy_columns_kernel, {.grid = dim3(static_cast<unsigned>(blocks)), .block = dim3(kThreads)}, x, rows, from, to,
         y);
}

}  // namespace tenon::ops::cuda
