#include "swiglu.h"

#include "../../runtime/simd.h"
#include "strided_loop.h"
#include "vector_math.h"

namespace tenon::ops::cpu {
namespace {

template <class T>
TENON_CLONES void forward_row(const T* gate, const T* up, T* y, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float g = to_float(gate[i]);
    y[i] = from_float<T>(g * vsigmoid(g) * to_float(up[i]));
  }
}

template <class T>
TENON_CLONES void backward_row(const T* dy, const T* gate, const T* up, T* dgate, T* dup, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float g = to_float(gate[i]), d = to_float(dy[i]);
    const float s = vsigmoid(g), silu = g * s;
    dgate[i] = from_float<T>(d * to_float(up[i]) * (s + silu * (1.0f - s)));
    dup[i] = from_float<T>(d * silu);
  }
}

}  // namespace

void swiglu(const Tensor& gate, const Tensor& up, Tensor& y) {
  const auto loop = strided_loop<3>(y.shape(), {&y, &gate, &up});
  for_float_types(y.dtype(), [&]<class T>() {
    const T *g = gate.data<T>(), *u = up.data<T>();
    T* out = y.data<T>();
    for_rows(loop, [&](const auto& at, int64_t n) { forward_row(g + at[1], u + at[2], out + at[0], n); });
  });
}

void swiglu_backward(const Tensor& dy, const Tensor& gate, const Tensor& up, Tensor& dgate, Tensor& dup) {
  const auto loop = strided_loop<4>(dgate.shape(), {&dgate, &dy, &gate, &up});
  for_float_types(dgate.dtype(), [&]<class T>() {
    const T *d = dy.data<T>(), *g = gate.data<T>(), *u = up.data<T>();
    T *out_gate = dgate.data<T>(), *out_up = dup.data<T>();
    for_rows(loop, [&](const auto& at, int64_t n) {
      backward_row(d + at[1], g + at[2], u + at[3], out_gate + at[0], out_up + at[0], n);
    });
  });
}

}  // namespace tenon::ops::cpu
