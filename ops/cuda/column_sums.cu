#include "column_sums.h"

#include "vectors.h"

namespace tenon::ops::cuda {
namespace {

constexpr int kColumns = 32, kRows = 16;

// 32 columns a block; its 16 warps take every 16th row each, and their sums are added in order.
template <class T>
__global__ void __launch_bounds__(kColumns* kRows)
    column_sums_kernel(const T* x, int64_t rows, int64_t columns, float* y) {
  TENON_SHARED(partial, float[kRows][kColumns]);
  const int lane = threadIdx.x % kColumns, warp = threadIdx.x / kColumns;
  const int64_t column = int64_t{blockIdx.x} * kColumns + lane;
  float sum = 0;
  if (column < columns)
    for (int64_t r = warp; r < rows; r += kRows) sum += as_float(x[r * columns + column]);
  partial[warp][lane] = sum;
  __syncthreads();
  if (warp == 0 && column < columns) {
    for (int w = 1; w < kRows; ++w) sum += partial[w][lane];
    y[column] += sum;
  }
}

template <class T>
void run(const T* x, int64_t rows, int64_t columns, float* y) {
  if (rows == 0 || columns == 0) return;
  launch(column_sums_kernel<T>,
         {.grid = dim3(static_cast<unsigned>((columns + kColumns - 1) / kColumns)), .block = dim3(kColumns * kRows)}, x,
         rows, columns, y);
}

}  // namespace

void add_column_sums(const float* x, int64_t rows, int64_t columns, float* y) { run(x, rows, columns, y); }
void add_column_sums(const bf16* x, int64_t rows, int64_t columns, float* y) { run(x, rows, columns, y); }

}  // namespace tenon::ops::cuda
