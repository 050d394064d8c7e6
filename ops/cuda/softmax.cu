#include "softmax.h"

#include <initializer_list>

#include "block.h"
#include "vectors.h"

namespace tenon::ops::cuda {
namespace {

constexpr int kThreads = 256;

// f(first column) for this thread's packs of a row.
template <int kWidth, class F>
__device__ void for_packs(int64_t dim, F f) {
  for (int64_t c = int64_t{threadIdx.x} * kWidth; c < dim; c += kThreads * kWidth) f(c);
}

// One block a row.
template <int kWidth, bool kLog, class T>
__global__ void __launch_bounds__(kThreads) forward_kernel(const T* x, int64_t dim, T* y) {
  x += int64_t{blockIdx.x} * dim;
  y += int64_t{blockIdx.x} * dim;
  float largest = -INFINITY;
  for_packs<kWidth>(dim, [&](int64_t c) {
    const auto in = load<kWidth>(x + c);
#pragma unroll
    for (int k = 0; k < kWidth; ++k) largest = fmaxf(largest, in[k]);
  });
  largest = block_reduce<kThreads>(largest, Max{});
  float sum = 0;
  for_packs<kWidth>(dim, [&](int64_t c) {
    const auto in = load<kWidth>(x + c);
#pragma unroll
    for (int k = 0; k < kWidth; ++k) sum += __expf(in[k] - largest);
  });
  sum = block_reduce<kThreads>(sum, Plus{});
  const float scale = 1.0f / sum, log_sum = logf(sum);
  for_packs<kWidth>(dim, [&](int64_t c) {
    const auto in = load<kWidth>(x + c);
    store<kWidth>(y + c, [&](int k) {
      const float shifted = in[k] - largest;
      return kLog ? shifted - log_sum : __expf(shifted) * scale;
    });
  });
}

// softmax: dx = y (dy - sum(dy y)); log_softmax: dx = dy - exp(y) sum(dy).
template <int kWidth, bool kLog, class T>
__global__ void __launch_bounds__(kThreads) backward_kernel(const T* dy, const T* y, int64_t dim, T* dx) {
  dy += int64_t{blockIdx.x} * dim;
  y += int64_t{blockIdx.x} * dim;
  dx += int64_t{blockIdx.x} * dim;
  float sum = 0;
  for_packs<kWidth>(dim, [&](int64_t c) {
    const auto d = load<kWidth>(dy + c);
    const auto value = load<kWidth>(y + c);
#pragma unroll
    for (int k = 0; k < kWidth; ++k) sum += kLog ? d[k] : d[k] * value[k];
  });
  sum = block_reduce<kThreads>(sum, Plus{});
  for_packs<kWidth>(dim, [&](int64_t c) {
    const auto d = load<kWidth>(dy + c);
    const auto value = load<kWidth>(y + c);
    store<kWidth>(dx + c, [&](int k) { return kLog ? d[k] - __expf(value[k]) * sum : value[k] * (d[k] - sum); });
  });
}

// f.operator()<kWidth, T>() with the type of x, and the width that its rows and the addresses allow.
template <class F>
void with_width(const Tensor& x, std::initializer_list<const Tensor*> tensors, F&& f) {
  for_float_types(x.dtype(), [&]<class T>() {
    bool packs = x.dim(-1) % kVector<T> == 0;
    for (const Tensor* t : tensors) packs = packs && is_aligned(t->raw(), 16);
    if (packs)
      f.template operator()<kVector<T>, T>();
    else
      f.template operator()<1, T>();
  });
}

LaunchShape one_block_a_row(const Tensor& x) {
  return {.grid = dim3(static_cast<unsigned>(x.rows())), .block = dim3(kThreads)};
}

template <bool kLog>
void forward(const Tensor& x, Tensor& y) {
  with_width(x, {&x, &y}, [&]<int kWidth, class T>() {
    launch(forward_kernel<kWidth, kLog, T>, one_block_a_row(x), x.data<T>(), x.dim(-1), y.data<T>());
  });
}

template <bool kLog>
void backward(const Tensor& dy, const Tensor& y, Tensor& dx) {
  with_width(y, {&dy, &y, &dx}, [&]<int kWidth, class T>() {
    launch(backward_kernel<kWidth, kLog, T>, one_block_a_row(y), dy.data<T>(), y.data<T>(), y.dim(-1), dx.data<T>());
  });
}

}  // namespace

void softmax(const Tensor& x, Tensor& y) { forward<false>(x, y); }
void softmax_backward(const Tensor& dy, const Tensor& y, Tensor& dx) { backward<false>(dy, y, dx); }
void log_softmax(const Tensor& x, Tensor& y) { forward<true>(x, y); }
void log_softmax_backward(const Tensor& dy, const Tensor& y, Tensor& dx) { backward<true>(dy, y, dx); }

}  // namespace tenon::ops::cuda
