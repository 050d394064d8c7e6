#include <cmath>

#include "../../runtime/simd.h"
#include "elementwise.h"
#include "strided_loop.h"

namespace tenon::ops::cpu {
namespace {

struct Add {
  [[gnu::always_inline]] float operator()(float a, float b) const { return a + b; }
};
struct Sub {
  [[gnu::always_inline]] float operator()(float a, float b) const { return a - b; }
};
struct Mul {
  [[gnu::always_inline]] float operator()(float a, float b) const { return a * b; }
};
struct Div {
  [[gnu::always_inline]] float operator()(float a, float b) const { return a / b; }
};
// The second comparison keeps a NaN in a; one in b fails both and is taken.
struct Maximum {
  [[gnu::always_inline]] float operator()(float a, float b) const { return a > b || a != a ? a : b; }
};
struct Minimum {
  [[gnu::always_inline]] float operator()(float a, float b) const { return a < b || a != a ? a : b; }
};

// y is contiguous. The strides of most rows are 0 or 1, and the compiler vectorises those.
template <class Op, class A, class B>
TENON_CLONES void binary_row(const A* a, int64_t a_stride, const B* b, int64_t b_stride, A* y, int64_t n) {
  const Op op;
  if (a_stride == 1 && b_stride == 1) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) y[i] = from_float<A>(op(to_float(a[i]), to_float(b[i])));
  } else if (a_stride == 1 && b_stride == 0) {
    const float scalar = to_float(*b);
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) y[i] = from_float<A>(op(to_float(a[i]), scalar));
  } else if (a_stride == 0 && b_stride == 1) {
    const float scalar = to_float(*a);
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) y[i] = from_float<A>(op(scalar, to_float(b[i])));
  } else {
    for (int64_t i = 0; i < n; ++i) y[i] = from_float<A>(op(to_float(a[i * a_stride]), to_float(b[i * b_stride])));
  }
}

template <class Y, class X>
TENON_CLONES void add_into_row(Y* y, int64_t y_stride, const X* x, int64_t x_stride, float alpha, int64_t n) {
  if (y_stride == 1 && x_stride == 1) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) y[i] = from_float<Y>(to_float(y[i]) + alpha * to_float(x[i]));
  } else {
    for (int64_t i = 0; i < n; ++i)
      y[i * y_stride] = from_float<Y>(to_float(y[i * y_stride]) + alpha * to_float(x[i * x_stride]));
  }
}

template <class Op>
void run_binary(const Tensor& a, const Tensor& b, Tensor& y) {
  const auto loop = strided_loop<3>(y.shape(), {&y, &a, &b});
  for_float_types(a.dtype(), [&]<class A>() {
    for_float_types(b.dtype(), [&]<class B>() {
      A* out = y.data<A>();
      const A* left = a.data<A>();
      const B* right = b.data<B>();
      const auto stride = loop.row_stride();
      for_rows(loop, [&](const auto& at, int64_t n) {
        binary_row<Op>(left + at[1], stride[1], right + at[2], stride[2], out + at[0], n);
      });
    });
  });
}

}  // namespace

void binary(Binary op, const Tensor& a, const Tensor& b, Tensor& y) {
  switch (op) {
    case Binary::add:
      return run_binary<Add>(a, b, y);
    case Binary::sub:
      return run_binary<Sub>(a, b, y);
    case Binary::mul:
      return run_binary<Mul>(a, b, y);
    case Binary::div:
      return run_binary<Div>(a, b, y);
    case Binary::maximum:
      return run_binary<Maximum>(a, b, y);
    case Binary::minimum:
      return run_binary<Minimum>(a, b, y);
  }
}

void add_into(Tensor& y, const Tensor& x, float alpha) {
  const auto loop = strided_loop<2>(y.shape(), {&y, &x});
  for_float_types(y.dtype(), [&]<class Y>() {
    for_float_types(x.dtype(), [&]<class X>() {
      Y* out = y.data<Y>();
      const X* in = x.data<X>();
      const auto stride = loop.row_stride();
      for_rows(loop, [&](const auto& at, int64_t n) {
        add_into_row(out + at[0], stride[0], in + at[1], stride[1], alpha, n);
      });
    });
  });
}

void add_scaled_into(Tensor& y, const Tensor& x, const Tensor& alpha) { add_into(y, x, alpha.item<float>()); }

}  // namespace tenon::ops::cpu
