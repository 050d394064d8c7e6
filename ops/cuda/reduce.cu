#include "reduce.h"

#include <algorithm>

#include "../../runtime/workspace.h"
#include "block.h"
#include "vectors.h"

namespace tenon::ops::cuda {
namespace {

constexpr int kThreads = 256;

// Sums, or keeps the larger one; a NaN in either stays.
struct Combine {
  bool is_max;
  __device__ float start() const { return is_max ? -INFINITY : 0.0f; }
  __device__ float operator()(float a, float b) const {
    if (!is_max) return a + b;
    return b > a || b != b ? b : a;
  }
};

struct Problem {
  int64_t n, inner, parts, per_part;  // the n elements in parts, the last of which may be shorter
  float divisor;
};

// One block for each part of each outer index.
template <class T>
__global__ void __launch_bounds__(kThreads)
    reduce_rows_kernel(Combine combine, const T* x, const __grid_constant__ Problem p, float* y) {
  const int64_t outer = blockIdx.x / p.parts, first = blockIdx.x % p.parts * p.per_part;
  const int64_t last = min(p.n, first + p.per_part);
  float value = combine.start();
  for (int64_t i = first + threadIdx.x; i < last; i += kThreads) value = combine(value, as_float(x[outer * p.n + i]));
  value = block_reduce<kThreads>(value, combine);
  if (threadIdx.x == 0) y[blockIdx.x] = value / p.divisor;
}

// One thread for each column of each part of each outer index.
template <class T>
__global__ void __launch_bounds__(kThreads)
    reduce_columns_kernel(Combine combine, const T* x, const __grid_constant__ Problem p, int64_t results, float* y) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= results) return;
  const int64_t column = i % p.inner, part = i / p.inner % p.parts, outer = i / p.inner / p.parts;
  const int64_t first = part * p.per_part, last = min(p.n, first + p.per_part);
  float value = combine.start();
  for (int64_t r = first; r < last; ++r) value = combine(value, as_float(x[(outer * p.n + r) * p.inner + column]));
  y[i] = value / p.divisor;
}

template <class T>
void run(Combine combine, const T* x, int64_t outer, const Problem& p, float* y) {
  const int64_t results = outer * p.parts * p.inner;
  if (p.inner == 1)
    launch(reduce_rows_kernel<T>, {.grid = dim3(static_cast<unsigned>(results)), .block = dim3(kThreads)}, combine, x,
           p, y);
  else
    launch(reduce_columns_kernel<T>,
           {.grid = dim3(static_cast<unsigned>((results + kThreads - 1) / kThreads)), .block = dim3(kThreads)}, combine,
           x, p, results, y);
}

}  // namespace

void reduce(Reduction op, const Tensor& x, int64_t outer, int64_t n, int64_t inner, Tensor& y) {
  if (y.numel() == 0) return;
  const Combine combine{op == Reduction::max};
  const float divisor = op == Reduction::mean ? static_cast<float>(n) : 1.0f;
  // Long dimensions are cut into parts whose results are joined in order. The cut depends on n and inner alone, so the
  // bits do too: 16 Ki elements to a block, or 512 to a thread.
  const int64_t part = inner == 1 ? 16384 : 512;
  const int64_t parts = std::clamp<int64_t>((n + part - 1) / part, 1, 1024), per_part = (n + parts - 1) / parts;
  for_float_types(x.dtype(), [&]<class T>() {
    if (parts == 1) return run(combine, x.data<T>(), outer, {n, inner, 1, n, divisor}, y.data<float>());
    auto partial = Workspace::of(x.device()).get<float>(outer * parts * inner);
    run(combine, x.data<T>(), outer, {n, inner, parts, per_part, 1.0f}, partial.data());
    run<float>(combine, partial.data(), outer, {parts, inner, 1, parts, divisor}, y.data<float>());
  });
}

}  // namespace tenon::ops::cuda
