// The limit is memory. A block sums a part of the rows for 256 bytes of columns, and there are as many parts as it
// takes to have work for all processors; a second kernel adds their sums in order. How many parts follows from the
// sizes alone, and so do the bits of the result.
#include "column_sums.h"

#include <algorithm>

#include "../../runtime/workspace.h"
#include "vectors.h"

namespace tenon::ops::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32, kTotalThreads = 64;
constexpr int64_t kBlocks = 1024;   // about eight for each processor of the largest GPUs
constexpr int64_t kLeastRows = 64;  // of a part: less, and its sums are a burden beside the rows

// 32 * kWidth columns of a part; its warps take every eighth row each, and their sums are added in order. `parts` is
// [parts, columns], or y itself, which is added to, where there is one part.
template <int kWidth, class T>
__global__ void __launch_bounds__(kThreads)
    parts_kernel(const T* x, int64_t rows, int64_t part_rows, int64_t columns, float* parts) {
  constexpr int kColumns = 32 * kWidth;
  TENON_SHARED(partial, float[kWarps][kColumns]);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int64_t first_column = int64_t{blockIdx.x} * kColumns, column = first_column + lane * kWidth;
  const int64_t first = blockIdx.y * part_rows, last = min(rows, first + part_rows);
  float sum[kWidth] = {};
  if (column < columns)
#pragma unroll 8
    for (int64_t r = first + warp; r < last; r += kWarps) {
      const auto row = load<kWidth>(x + r * columns + column);
#pragma unroll
      for (int k = 0; k < kWidth; ++k) sum[k] += row[k];
    }
  store<kWidth>(&partial[warp][lane * kWidth], [&](int k) { return sum[k]; });
  __syncthreads();
  const int own = threadIdx.x;
  if (own >= kColumns || first_column + own >= columns) return;
  float total = partial[0][own];
#pragma unroll
  for (int w = 1; w < kWarps; ++w) total += partial[w][own];
  float& to = parts[blockIdx.y * columns + first_column + own];
  to = gridDim.y == 1 ? to + total : total;
}

// A thread a column.
__global__ void __launch_bounds__(kTotalThreads)
    total_kernel(const float* parts, int count, int64_t columns, float* y) {
  const int64_t column = int64_t{blockIdx.x} * kTotalThreads + threadIdx.x;
  if (column >= columns) return;
  float total = 0;
#pragma unroll 8
  for (int p = 0; p < count; ++p) total += parts[p * columns + column];
  y[column] += total;
}

template <class T>
void run(Device device, const T* x, int64_t rows, int64_t columns, float* y) {
  if (rows == 0 || columns == 0) return;
  const auto ceil_div = [](int64_t a, int64_t b) { return (a + b - 1) / b; };
  const int64_t most = std::clamp<int64_t>(kBlocks / ceil_div(columns, 64), 1, ceil_div(rows, kLeastRows));
  const int64_t part_rows = ceil_div(rows, most), count = ceil_div(rows, part_rows);
  auto sums = Workspace::of(device).get<float>(count > 1 ? count * columns : 0);
  const auto sum_parts = [&]<int kWidth>() {
    launch(parts_kernel<kWidth, T>,
           {.grid = dim3(static_cast<unsigned>(ceil_div(columns, 32 * kWidth)), static_cast<unsigned>(count)),
            .block = dim3(kThreads)},
           x, rows, part_rows, columns, count > 1 ? sums.data() : y);
  };
  constexpr int kWidth = kVector<T> / 2;
  if (columns % kWidth == 0 && is_aligned(x, sizeof(T) * kWidth))
    sum_parts.template operator()<kWidth>();
  else
    sum_parts.template operator()<1>();
  if (count > 1)
    launch(total_kernel,
           {.grid = dim3(static_cast<unsigned>(ceil_div(columns, kTotalThreads))), .block = dim3(kTotalThreads)},
           sums.data(), static_cast<int>(count), columns, y);
}

}  // namespace

void add_column_sums(Device device, const float* x, int64_t rows, int64_t columns, float* y) {
  run(device, x, rows, columns, y);
}
void add_column_sums(Device device, const bf16* x, int64_t rows, int64_t columns, float* y) {
  run(device, x, rows, columns, y);
}

}  // namespace tenon::ops::cuda
