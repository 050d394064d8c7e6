#include "softmax.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "../../runtime/simd.h"
#include "../../runtime/threads.h"
#include "../../runtime/workspace.h"
#include "grain.h"
#include "vector_math.h"

namespace tenon::ops::cpu {
namespace {

template <class T>
[[gnu::always_inline]] inline float largest(const T* x, int64_t n) {
  float m = -std::numeric_limits<float>::infinity();
#pragma omp simd reduction(max : m)
  for (int64_t i = 0; i < n; ++i) {
    const float v = to_float(x[i]);
    m = v > m ? v : m;
  }
  return m;
}

// `exps` holds n floats between the passes: the row of y itself where that is f32.
template <class T>
TENON_CLONES void softmax_row(const T* x, int64_t n, float* exps, T* y) {
  const float m = largest(x, n);
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; ++i) {
    exps[i] = vexp(to_float(x[i]) - m);
    sum += exps[i];
  }
  const float inverse = 1.0f / sum;
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) y[i] = from_float<T>(exps[i] * inverse);
}

template <class T>
TENON_CLONES void softmax_backward_row(const T* dy, const T* y, int64_t n, T* dx) {
  float dot = 0;
#pragma omp simd reduction(+ : dot)
  for (int64_t i = 0; i < n; ++i) dot += to_float(dy[i]) * to_float(y[i]);
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) dx[i] = from_float<T>(to_float(y[i]) * (to_float(dy[i]) - dot));
}

template <class T>
TENON_CLONES void log_softmax_row(const T* x, int64_t n, T* y) {
  const float m = largest(x, n);
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; ++i) sum += vexp(to_float(x[i]) - m);
  const float log_sum = std::log(sum);
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) y[i] = from_float<T>((to_float(x[i]) - m) - log_sum);
}

template <class T>
TENON_CLONES void log_softmax_backward_row(const T* dy, const T* y, int64_t n, T* dx) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; ++i) sum += to_float(dy[i]);
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) dx[i] = from_float<T>(to_float(dy[i]) - vexp(to_float(y[i])) * sum);
}

template <class F>
void rows_of(const Tensor& x, F&& f) {
  const int64_t n = x.dim(-1);
  parallel_for(x.rows(), row_grain(n), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) f(r * n, n);
  });
}

}  // namespace

void softmax(const Tensor& x, Tensor& y) {
  const int64_t n = x.dim(-1), rows = x.rows();
  for_float_types(x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    T* out = y.data<T>();
    if constexpr (std::is_same_v<T, float>) {
      rows_of(x, [&](int64_t at, int64_t) { softmax_row(in + at, n, out + at, out + at); });
    } else {
      const int64_t parts = std::clamp<int64_t>(rows * n / kGrain, 1, num_threads());
      auto exps = Workspace::host().get<float>(parts * n);
      parallel_each(parts, [&](int64_t part) {
        for (int64_t r = rows * part / parts; r < rows * (part + 1) / parts; ++r)
          softmax_row(in + r * n, n, exps.data() + part * n, out + r * n);
      });
    }
  });
}

void softmax_backward(const Tensor& dy, const Tensor& y, Tensor& dx) {
  for_float_types(y.dtype(), [&]<class T>() {
    const T *incoming = dy.data<T>(), *value = y.data<T>();
    T* out = dx.data<T>();
    rows_of(y, [&](int64_t at, int64_t n) { softmax_backward_row(incoming + at, value + at, n, out + at); });
  });
}

void log_softmax(const Tensor& x, Tensor& y) {
  for_float_types(x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    T* out = y.data<T>();
    rows_of(x, [&](int64_t at, int64_t n) { log_softmax_row(in + at, n, out + at); });
  });
}

void log_softmax_backward(const Tensor& dy, const Tensor& y, Tensor& dx) {
  for_float_types(y.dtype(), [&]<class T>() {
    const T *incoming = dy.data<T>(), *value = y.data<T>();
    T* out = dx.data<T>();
    rows_of(y, [&](int64_t at, int64_t n) { log_softmax_backward_row(incoming + at, value + at, n, out + at); });
  });
}

}  // namespace tenon::ops::cpu
