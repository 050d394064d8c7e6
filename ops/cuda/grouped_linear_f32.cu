// The products of experts in f32, on the processors' ordinary units: 64x64 tiles, 8x4 results a thread, so that each
// step of d reads 12 numbers of shared memory for 32 products. The next 16 of d are fetched into registers meanwhile.
#include "grouped_linear.h"
#include "grouped_tiles.h"
#include "vectors.h"

namespace tenon::ops::cuda {
namespace {

constexpr int kTile = 64, kStep = 16, kThreads = 128;
constexpr int kRows = 8, kColumns = 4;           // of a thread
constexpr int kHeld = kTile * kStep / kThreads;  // elements of an operand that a thread fetches
constexpr int kLine = kTile + 4;                 // 16 of d in one column of a stage lie in eight banks

template <class T>
struct Operand {
  const T* data;  // element (0, 0) of the tile
  int ld, size;   // as MmaOperand
};

// kAcross: stored [d, s]. Zeros where there is nothing.
template <bool kAcross, class T>
__device__ void fetch(float (&held)[kHeld], const Operand<T>& x, int d0, int depth) {
  const T* first = x.data + (kAcross ? int64_t{d0} * x.ld : d0);
#pragma unroll
  for (int i = 0; i < kHeld; ++i) {
    const int p = i * kThreads + static_cast<int>(threadIdx.x);
    const int s = kAcross ? p % kTile : p / kStep, d = kAcross ? p / kTile : p % kStep;
    held[i] = s < x.size && d0 + d < depth ? as_float(first[kAcross ? d * x.ld + s : s * x.ld + d]) : 0.0f;
  }
}

template <bool kAcross>
__device__ void put(float (*stage)[kLine], const float (&held)[kHeld]) {
#pragma unroll
  for (int i = 0; i < kHeld; ++i) {
    const int p = i * kThreads + static_cast<int>(threadIdx.x);
    stage[kAcross ? p / kTile : p % kStep][kAcross ? p % kTile : p / kStep] = held[i];
  }
}

// sum += the tile's product over [0, depth); this thread's rows and columns of it.
template <bool kAcrossA, bool kAcrossB, class A, class B>
__device__ void multiply(const Operand<A>& a, const Operand<B>& b, int depth, float (&sum)[kRows][kColumns]) {
  TENON_SHARED(stage_a, float[2][kStep][kLine]);
  TENON_SHARED(stage_b, float[2][kStep][kLine]);
  const int m0 = static_cast<int>(threadIdx.x) / 16 * kRows, n0 = static_cast<int>(threadIdx.x) % 16 * kColumns;
  float next_a[kHeld], next_b[kHeld];
  fetch<kAcrossA>(next_a, a, 0, depth);
  fetch<kAcrossB>(next_b, b, 0, depth);
  for (int d0 = 0, now = 0; d0 < depth; d0 += kStep, now ^= 1) {
    put<kAcrossA>(stage_a[now], next_a);
    put<kAcrossB>(stage_b[now], next_b);
    __syncthreads();  // and the stage before has been read
    if (d0 + kStep < depth) {
      fetch<kAcrossA>(next_a, a, d0 + kStep, depth);
      fetch<kAcrossB>(next_b, b, d0 + kStep, depth);
    }
#pragma unroll 4
    for (int d = 0; d < kStep; ++d) {
      const auto low = load<4>(&stage_a[now][d][m0]), high = load<4>(&stage_a[now][d][m0 + 4]);
      const auto across = load<4>(&stage_b[now][d][n0]);
#pragma unroll
      for (int i = 0; i < kRows; ++i)
#pragma unroll
        for (int j = 0; j < kColumns; ++j) sum[i][j] += (i < 4 ? low[i % 4] : high[i % 4]) * across[j];
    }
  }
}

// y (the tile's first element) = or += this thread's part of the tile, rows of which there are `rows` and `columns`.
__device__ void store_tile(const float (&sum)[kRows][kColumns], float* y, int ld, int rows, int columns, bool add,
                           bool pieces) {
  const int m0 = static_cast<int>(threadIdx.x) / 16 * kRows, n0 = static_cast<int>(threadIdx.x) % 16 * kColumns;
  if (n0 >= columns) return;
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    if (m0 + i >= rows) return;
    float* to = y + int64_t{m0 + i} * ld + n0;
    if (pieces) {
      Pack<float, 4> old{};
      if (add) old = load<4>(to);
      store<4>(to, [&](int j) { return old[j] + sum[i][j]; });
    } else {
#pragma unroll
      for (int j = 0; j < kColumns; ++j)
        if (n0 + j < columns) to[j] = (add ? to[j] : 0.0f) + sum[i][j];
    }
  }
}

template <bool kAcross, class W>
__global__ void __launch_bounds__(kThreads)
    rows_kernel(DevicePlan plan, const float* x, const W* w, int n, int depth, bool add, bool pieces, float* y) {
  RowTile tile;
  if (!find_tile<kTile, kThreads>(plan, blockIdx.x, tile)) return;
  if (add && tile.filled == 0) return;
  const int n0 = static_cast<int>(blockIdx.y) * kTile, columns = n - n0;
  float sum[kRows][kColumns] = {};
  if (tile.filled > 0) {
    w += int64_t{tile.expert} * n * depth;
    const Operand<float> a{x + tile.first * depth, depth, tile.filled};
    const Operand<W> b = kAcross ? Operand<W>{w + n0, n, columns} : Operand<W>{w + int64_t{n0} * depth, depth, columns};
    multiply<false, kAcross>(a, b, depth, sum);
  }
  store_tile(sum, y + tile.first * n + n0, n, tile.rows, columns, add, pieces);
}

template <class D, class X>
__global__ void __launch_bounds__(kThreads)
    weight_kernel(DevicePlan plan, const D* dy, const X* x, int out, int in, bool pieces, float* dw) {
  const int i0 = static_cast<int>(blockIdx.x) * kTile, o0 = static_cast<int>(blockIdx.y) * kTile;
  const int64_t e = blockIdx.z, first = plan.offsets[e];
  const int count = plan.counts[e];
  if (count == 0) return;
  float sum[kRows][kColumns] = {};
  multiply<true, true>(Operand<D>{dy + first * out + o0, out, out - o0}, Operand<X>{x + first * in + i0, in, in - i0},
                       count, sum);
  store_tile(sum, dw + (e * out + o0) * in + i0, in, out - o0, in - i0, true, pieces);
}

unsigned tiles(int64_t n) { return static_cast<unsigned>((n + kTile - 1) / kTile); }

bool in_pieces(const Tensor& y) { return y.dim(-1) % 4 == 0 && is_aligned(y.raw(), 16); }

}  // namespace

void grouped_rows_f32(Tensor& y, float beta, const Tensor& x, const Tensor& w, bool transposed,
                      const ExpertPlan& plan) {
  for_float_types(w.dtype(), [&]<class W>() {
    launch(transposed ? rows_kernel<false, W> : rows_kernel<true, W>,
           {.grid = dim3(static_cast<unsigned>(row_tiles(plan, kTile)), tiles(y.dim(1))), .block = dim3(kThreads)},
           device_plan(plan), x.data<float>(), w.data<W>(), static_cast<int>(y.dim(1)), static_cast<int>(x.dim(1)),
           beta != 0, in_pieces(y), y.data<float>());
  });
}

void grouped_weight_f32(Tensor& dw, const Tensor& dy, const Tensor& x, const ExpertPlan& plan) {
  const LaunchShape shape{.grid = dim3(tiles(x.dim(1)), tiles(dy.dim(1)), static_cast<unsigned>(plan.experts)),
                          .block = dim3(kThreads)};
  for_float_types(dy.dtype(), [&]<class D>() {
    for_float_types(x.dtype(), [&]<class X>() {
      if constexpr (!std::is_same_v<D, bf16> || !std::is_same_v<X, bf16>)
        launch(weight_kernel<D, X>, shape, device_plan(plan), dy.data<D>(), x.data<X>(), static_cast<int>(dy.dim(1)),
               static_cast<int>(x.dim(1)), in_pieces(dw), dw.data<float>());
    });
  });
}

}  // namespace tenon::ops::cuda
