#include "rms_norm.h"

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

// With g = dy * weight:  dx = rstd g - x rstd^3 mean(g x) [+ dsum],  dweight += dy x rstd. A block goes over
// `rows_per_block` rows; each thread sums the gradient of its own columns, in shared memory.
template <int kWidth, class T, class W>
__global__ void __launch_bounds__(kThreads)
    backward_kernel(const T* dy, const T* dsum, const T* x, const W* weight, const float* rstd, int64_t rows,
                    int64_t rows_per_block, int64_t dim, T* dx, float* dweight) {
  float* own = dynamic_shared<float>();
  if (dweight)
    for (int64_t c = threadIdx.x * kWidth; c < dim; c += kThreads * kWidth)
      for (int k = 0; k < kWidth; ++k) own[c + k] = 0;

  const int64_t first = blockIdx.x * rows_per_block, last = min(rows, first + rows_per_block);
  for (int64_t r = first; r < last; ++r) {
    const int64_t row = r * dim;
    float dot = 0;
    for (int64_t c = threadIdx.x * kWidth; c < dim; c += kThreads * kWidth) {
      const auto d = load<kWidth>(dy + row + c), in = load<kWidth>(x + row + c);
      const auto w = load<kWidth>(weight + c);
#pragma unroll
      for (int k = 0; k < kWidth; ++k) dot += d[k] * w[k] * in[k];
    }
    const float inverse = rstd[r];
    const float shift = block_reduce<kThreads>(dot, Plus{}) * inverse * inverse * inverse / static_cast<float>(dim);
    for (int64_t c = threadIdx.x * kWidth; c < dim; c += kThreads * kWidth) {
      const auto d = load<kWidth>(dy + row + c), in = load<kWidth>(x + row + c);
      const auto w = load<kWidth>(weight + c);
      float direct[kWidth] = {};
      if (dsum) {
        const auto s = load<kWidth>(dsum + row + c);
#pragma unroll
        for (int k = 0; k < kWidth; ++k) direct[k] = s[k];
      }
      store<kWidth>(dx + row + c, [&](int k) { return d[k] * w[k] * inverse - in[k] * shift + direct[k]; });
      if (dweight) {
#pragma unroll
        for (int k = 0; k < kWidth; ++k) own[c + k] += d[k] * in[k] * inverse;
      }
    }
  }
  if (dweight)
    for (int64_t c = threadIdx.x * kWidth; c < dim; c += kThreads * kWidth)
      for (int k = 0; k < kWidth; ++k) dweight[blockIdx.x * dim + c + k] = own[c + k];
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
  // With a weight's gradient, one partial sum for each of at most 256 blocks of rows: their number follows from the
  // rows alone, so every GPU adds in the same order.
  constexpr int64_t kMaxPartials = 256;
  const int64_t rows_per_block = dweight ? (rows + kMaxPartials - 1) / kMaxPartials : 1;
  const int64_t blocks = (rows + rows_per_block - 1) / rows_per_block;
  auto partial = Workspace::of(x.device()).get<float>(dweight ? blocks * dim : 0);
  with_types(x, weight, {&dy, dsum ? dsum : &dy, &x, &dx}, [&]<int kWidth, class T, class W>() {
    launch(backward_kernel<kWidth, T, W>,
           {.grid = dim3(static_cast<unsigned>(blocks)),
            .block = dim3(kThreads),
            .shared_bytes = dweight ? static_cast<size_t>(dim) * sizeof(float) : 0},
           dy.data<T>(), dsum ? dsum->data<T>() : nullptr, x.data<T>(), weight.data<W>(), rstd.data<float>(), rows,
           rows_per_block, dim, dx.data<T>(), dweight ? partial.data() : nullptr);
  });
  if (dweight) add_column_sums(partial.data(), blocks, dim, dweight->data<float>());
}

}  // namespace tenon::ops::cuda
