#include "rms_norm.h"

#include <algorithm>

#include "../../runtime/workspace.h"
#include "block.h"
#include "column_sums.h"
#include "vectors.h"

namespace tenon::ops::cuda {
namespace {

constexpr int kThreads = 256;

// One block a row, `kWidth` columns an access. The second pass finds the row in the cache.
template <int kWidth, bool kResidual, class T, class W>
__global__ void __launch_bounds__(kThreads)
    forward_kernel(const T* x, const T* residual, const W* weight, float eps, int64_t dim, T* y, T* sum, float* rstd) {
  const int64_t row = int64_t{blockIdx.x} * dim;
  float squares = 0;
  for (int64_t c = threadIdx.x * kWidth; c < dim; c += kThreads * kWidth) {
    auto in = load<kWidth>(x + row + c);
    if constexpr (kResidual) {
      const auto more = load<kWidth>(residual + row + c);
#pragma unroll
      for (int k = 0; k < kWidth; ++k) in.set(k, in[k] + more[k]);
      store(sum + row + c, in);
    }
#pragma unroll
    for (int k = 0; k < kWidth; ++k) squares += in[k] * in[k];
  }
  const float inverse = 1.0f / sqrtf(block_reduce<kThreads>(squares, Plus{}) / static_cast<float>(dim) + eps);
  if (threadIdx.x == 0) rstd[blockIdx.x] = inverse;

  const T* normed = kResidual ? sum : x;
  for (int64_t c = threadIdx.x * kWidth; c < dim; c += kThreads * kWidth) {
    const auto in = load<kWidth>(normed + row + c);
    const auto w = load<kWidth>(weight + c);
    store<kWidth>(y + row + c, [&](int k) { return in[k] * inverse * w[k]; });
  }
}

// With g = dy * weight:  dx = rstd g - x rstd^3 mean(g x) [+ dsum],  dweight += dy x rstd.
template <class T, class W>
struct Backward {
  const T *dy, *dsum, *x;  // dsum may be null
  const W* weight;
  const float* rstd;
  int64_t rows, rows_per_block, dim;
  T* dx;
  float* dweight;  // [blocks, dim], the sums of each block's rows; may be null
};

// Rows of up to kHeld packs a thread: each is read once, and stays in registers between the two passes. So do the sums
// of the weight's gradient for the thread's columns.
template <int kWidth, int kHeld, class T, class W>
__global__ void __launch_bounds__(kThreads, 2) held_backward_kernel(const __grid_constant__ Backward<T, W> p) {
  const int64_t first = blockIdx.x * p.rows_per_block, last = min(p.rows, first + p.rows_per_block);
  const int dim = static_cast<int>(p.dim), c0 = static_cast<int>(threadIdx.x) * kWidth;
  constexpr int kStep = kThreads * kWidth;
  constexpr bool kDirectAhead = kHeld * kWidth < 32;  // else two blocks a processor have no registers for dsum
  float own[kHeld][kWidth] = {};
  for (int64_t r = first; r < last; ++r) {
    const int64_t row = r * dim + c0;
    Pack<T, kWidth> d[kHeld] = {}, in[kHeld] = {}, direct[kHeld] = {};
#pragma unroll
    for (int h = 0; h < kHeld; ++h)
      if (c0 + h * kStep < dim) {
        d[h] = load<kWidth>(p.dy + row + h * kStep);
        in[h] = load<kWidth>(p.x + row + h * kStep);
        if (kDirectAhead && p.dsum) direct[h] = load<kWidth>(p.dsum + row + h * kStep);
      }
    float dot = 0;
#pragma unroll
    for (int h = 0; h < kHeld; ++h)
      if (c0 + h * kStep < dim) {
        const auto w = load<kWidth>(p.weight + c0 + h * kStep);
#pragma unroll
        for (int k = 0; k < kWidth; ++k) dot += d[h][k] * w[k] * in[h][k];
      }
    const float inverse = p.rstd[r];
    const float shift = block_reduce<kThreads>(dot, Plus{}) * inverse * inverse * inverse / static_cast<float>(dim);
#pragma unroll
    for (int h = 0; h < kHeld; ++h)
      if (c0 + h * kStep < dim) {
        const auto w = load<kWidth>(p.weight + c0 + h * kStep);
        if (!kDirectAhead && p.dsum) direct[h] = load<kWidth>(p.dsum + row + h * kStep);
        store<kWidth>(p.dx + row + h * kStep,
                      [&](int k) { return d[h][k] * w[k] * inverse - in[h][k] * shift + direct[h][k]; });
#pragma unroll
        for (int k = 0; k < kWidth; ++k) own[h][k] += d[h][k] * in[h][k] * inverse;
      }
  }
  if (!p.dweight) return;
#pragma unroll
  for (int h = 0; h < kHeld; ++h)
    if (c0 + h * kStep < dim)
      store<kWidth>(p.dweight + blockIdx.x * p.dim + c0 + h * kStep, [&](int k) { return own[h][k]; });
}

// Rows of any length. Each thread sums the gradient of its own columns in shared memory, where the k-th column of all
// packs lie together: neighbours in a warp are neighbours there.
template <int kWidth, class T, class W>
__global__ void __launch_bounds__(kThreads) backward_kernel(const __grid_constant__ Backward<T, W> p) {
  float* own = dynamic_shared<float>();
  const int64_t dim = p.dim, packs = dim / kWidth;
  if (p.dweight)
    for (int64_t i = threadIdx.x; i < packs; i += kThreads)
      for (int k = 0; k < kWidth; ++k) own[k * packs + i] = 0;

  const int64_t first = blockIdx.x * p.rows_per_block, last = min(p.rows, first + p.rows_per_block);
  for (int64_t r = first; r < last; ++r) {
    const int64_t row = r * dim;
    float dot = 0;
    for (int64_t c = threadIdx.x * kWidth; c < dim; c += kThreads * kWidth) {
      const auto d = load<kWidth>(p.dy + row + c), in = load<kWidth>(p.x + row + c);
      const auto w = load<kWidth>(p.weight + c);
#pragma unroll
      for (int k = 0; k < kWidth; ++k) dot += d[k] * w[k] * in[k];
    }
    const float inverse = p.rstd[r];
    const float shift = block_reduce<kThreads>(dot, Plus{}) * inverse * inverse * inverse / static_cast<float>(dim);
    for (int64_t c = threadIdx.x * kWidth; c < dim; c += kThreads * kWidth) {
      const auto d = load<kWidth>(p.dy + row + c), in = load<kWidth>(p.x + row + c);
      const auto w = load<kWidth>(p.weight + c);
      Pack<T, kWidth> direct{};
      if (p.dsum) direct = load<kWidth>(p.dsum + row + c);
      store<kWidth>(p.dx + row + c, [&](int k) { return d[k] * w[k] * inverse - in[k] * shift + direct[k]; });
      if (p.dweight) {
#pragma unroll
        for (int k = 0; k < kWidth; ++k) own[k * packs + c / kWidth] += d[k] * in[k] * inverse;
      }
    }
  }
  if (p.dweight)
    for (int64_t i = threadIdx.x; i < packs; i += kThreads)
      store<kWidth>(p.dweight + blockIdx.x * dim + i * kWidth, [&](int k) { return own[k * packs + i]; });
}

// f.operator()<kWidth, T, W>() with the types of x and weight, and the width that dim and the addresses allow.
template <class F>
void with_types(const Tensor& x, const Tensor& weight, std::initializer_list<const Tensor*> rows, F&& f) {
  for_float_types(x.dtype(), [&]<class T>() {
    for_float_types(weight.dtype(), [&]<class W>() {
      constexpr int kWidth = kVector<T>;
      bool packs = x.dim(-1) % kWidth == 0 && is_aligned(weight.raw(), sizeof(W) * kWidth);
      for (const Tensor* t : rows) packs = packs && is_aligned(t->raw(), sizeof(T) * kWidth);
      if (packs)
        f.template operator()<kWidth, T, W>();
      else
        f.template operator()<1, T, W>();
    });
  });
}

LaunchShape one_block_a_row(int64_t rows) {
  return {.grid = dim3(static_cast<unsigned>(rows)), .block = dim3(kThreads)};
}

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Rows whose gradients of the weight a block sums. Their number follows from the rows alone, so every GPU adds in the
// same order: about 1024 blocks are enough for the largest, and with less than four rows each, their sums would be a
// large part of what is moved, which few rows take for the sake of more blocks.
int64_t rows_of_a_block(int64_t rows) {
  return std::max(ceil_div(rows, 1024), std::min<int64_t>(4, ceil_div(rows, 128)));
}

}  // namespace

void rms_norm(const Tensor& x, const Tensor& weight, float eps, Tensor& y, Tensor& rstd) {
  if (x.numel() == 0) return;
  with_types(x, weight, {&x, &y}, [&]<int kWidth, class T, class W>() {
    launch(forward_kernel<kWidth, false, T, W>, one_block_a_row(x.rows()), x.data<T>(), nullptr, weight.data<W>(), eps,
           x.dim(-1), y.data<T>(), nullptr, rstd.data<float>());
  });
}

void rms_norm_residual(const Tensor& x, const Tensor& residual, const Tensor& weight, float eps, Tensor& y, Tensor& sum,
                       Tensor& rstd) {
  if (x.numel() == 0) return;
  with_types(x, weight, {&x, &residual, &y, &sum}, [&]<int kWidth, class T, class W>() {
    launch(forward_kernel<kWidth, true, T, W>, one_block_a_row(x.rows()), x.data<T>(), residual.data<T>(),
           weight.data<W>(), eps, x.dim(-1), y.data<T>(), sum.data<T>(), rstd.data<float>());
  });
}

void rms_norm_backward(const Tensor& dy, const Tensor* dsum, const Tensor& x, const Tensor& weight, const Tensor& rstd,
                       Tensor& dx, Tensor* dweight) {
  if (x.numel() == 0) return;
  const int64_t rows = x.rows(), dim = x.dim(-1);
  const int64_t rows_per_block = dweight ? rows_of_a_block(rows) : 1, blocks = ceil_div(rows, rows_per_block);
  auto partial = Workspace::of(x.device()).get<float>(dweight ? blocks * dim : 0);
  with_types(x, weight, {&dy, dsum ? dsum : &dy, &x, &dx}, [&]<int kWidth, class T, class W>() {
    const auto run = [&](void (*kernel)(Backward<T, W>), size_t shared_bytes) {
      launch(kernel,
             {.grid = dim3(static_cast<unsigned>(blocks)), .block = dim3(kThreads), .shared_bytes = shared_bytes},
             {dy.data<T>(), dsum ? dsum->data<T>() : nullptr, x.data<T>(), weight.data<W>(), rstd.data<float>(), rows,
              rows_per_block, dim, dx.data<T>(), dweight ? partial.data() : nullptr});
    };
    if constexpr (kWidth > 1) {
      const int64_t packs = ceil_div(dim, kThreads * kWidth);  // a thread
      if (packs == 1) return run(held_backward_kernel<kWidth, 1, T, W>, 0);
      if (packs == 2) return run(held_backward_kernel<kWidth, 2, T, W>, 0);
      if (packs <= 4) return run(held_backward_kernel<kWidth, 4, T, W>, 0);
    }
    run(backward_kernel<kWidth, T, W>, dweight ? static_cast<size_t>(dim) * sizeof(float) : 0);
  });
  if (dweight) add_column_sums(x.device(), partial.data(), blocks, dim, dweight->data<float>());
}

}  // namespace tenon::ops::cuda
