#include "rms_norm.h"

#include <cmath>

#include "../../runtime/simd.h"
#include "../../runtime/threads.h"
#include "../../runtime/workspace.h"
#include "grain.h"
#include "reduce.h"

namespace tenon::ops::cpu {
namespace {

template <class T, class W>
TENON_CLONES float normalize_row(const T* x, const W* weight, float eps, int64_t dim, T* y) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t c = 0; c < dim; ++c) sum += to_float(x[c]) * to_float(x[c]);

  const float rstd = 1.0f / std::sqrt(sum / static_cast<float>(dim) + eps);
#pragma omp simd
  for (int64_t c = 0; c < dim; ++c) y[c] = from_float<T>(to_float(x[c]) * rstd * to_float(weight[c]));
  return rstd;
}

template <class T>
TENON_CLONES void add_row(const T* a, const T* b, int64_t dim, T* sum) {
#pragma omp simd
  for (int64_t c = 0; c < dim; ++c) sum[c] = from_float<T>(to_float(a[c]) + to_float(b[c]));
}

// With g = dy * weight:  dx = rstd g - x rstd^3 mean(g x) [+ dsum],  dweight += dy x rstd.
template <bool kHasSum, bool kHasWeight, class T, class W>
TENON_CLONES void backward_row(const T* dy, const T* dsum, const T* x, const W* weight, float rstd, int64_t dim, T* dx,
                               float* dweight) {
  float dot = 0;
#pragma omp simd reduction(+ : dot)
  for (int64_t c = 0; c < dim; ++c) dot += to_float(dy[c]) * to_float(weight[c]) * to_float(x[c]);

  const float shift = dot * rstd * rstd * rstd / static_cast<float>(dim);
#pragma omp simd
  for (int64_t c = 0; c < dim; ++c) {
    const float xc = to_float(x[c]), dyc = to_float(dy[c]);
    float d = dyc * to_float(weight[c]) * rstd - xc * shift;
    if constexpr (kHasSum) d += to_float(dsum[c]);
    dx[c] = from_float<T>(d);
    if constexpr (kHasWeight) dweight[c] += dyc * xc * rstd;
  }
}

template <class F>
void with_types(const Tensor& x, const Tensor& weight, F&& f) {
  for_float_types(x.dtype(), [&]<class T>() {
    for_float_types(weight.dtype(), [&]<class W>() { f.template operator()<T, W>(); });
  });
}

}  // namespace

void rms_norm(const Tensor& x, const Tensor& weight, float eps, Tensor& y, Tensor& rstd) {
  const int64_t rows = x.rows(), dim = x.dim(-1);
  with_types(x, weight, [&]<class T, class W>() {
    const T* in = x.data<T>();
    const W* w = weight.data<W>();
    T* out = y.data<T>();
    float* inverse = rstd.data<float>();
    parallel_for(rows, row_grain(dim), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) inverse[r] = normalize_row(in + r * dim, w, eps, dim, out + r * dim);
    });
  });
}

void rms_norm_residual(const Tensor& x, const Tensor& residual, const Tensor& weight, float eps, Tensor& y, Tensor& sum,
                       Tensor& rstd) {
  const int64_t rows = x.rows(), dim = x.dim(-1);
  with_types(x, weight, [&]<class T, class W>() {
    const T *in = x.data<T>(), *rest = residual.data<T>();
    const W* w = weight.data<W>();
    T *out = y.data<T>(), *added = sum.data<T>();
    float* inverse = rstd.data<float>();
    parallel_for(rows, row_grain(dim), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        add_row(in + r * dim, rest + r * dim, dim, added + r * dim);
        inverse[r] = normalize_row(added + r * dim, w, eps, dim, out + r * dim);
      }
    });
  });
}

void rms_norm_backward(const Tensor& dy, const Tensor* dsum, const Tensor& x, const Tensor& weight, const Tensor& rstd,
                       Tensor& dx, Tensor* dweight) {
  const int64_t rows = x.rows(), dim = x.dim(-1);
  // One partial dweight for each block of rows, summed in order: the same bits for any number of threads.
  const RowBlocks blocks(rows, /*at_least=*/64);
  auto partial = Workspace::host().zeros<float>(dweight ? blocks.count() * dim : 0);

  with_types(x, weight, [&]<class T, class W>() {
    const T *incoming = dy.data<T>(), *in = x.data<T>(), *direct = dsum ? dsum->data<T>() : nullptr;
    const W* w = weight.data<W>();
    const float* inverse = rstd.data<float>();
    T* out = dx.data<T>();
    parallel_blocks(blocks, [&](int64_t block, int64_t begin, int64_t end) {
      float* own = dweight ? partial.data() + block * dim : nullptr;
      for (int64_t r = begin; r < end; ++r) {
        const int64_t at = r * dim;
        if (direct && own) {
          backward_row<true, true>(incoming + at, direct + at, in + at, w, inverse[r], dim, out + at, own);
        } else if (direct) {
          backward_row<true, false>(incoming + at, direct + at, in + at, w, inverse[r], dim, out + at, own);
        } else if (own) {
          backward_row<false, true>(incoming + at, direct, in + at, w, inverse[r], dim, out + at, own);
        } else {
          backward_row<false, false>(incoming + at, direct, in + at, w, inverse[r], dim, out + at, own);
        }
      }
    });
  });
  if (dweight) add_column_sums(partial, blocks.count(), dim, dweight->data<float>());
}

}  // namespace tenon::ops::cpu
