#include <algorithm>
#include <cmath>

#include "../../runtime/simd.h"
#include "elementwise.h"
#include "strided_loop.h"
#include "vector_math.h"

namespace tenon::ops::cpu {
namespace {

struct Scale {
  float factor;
  [[gnu::always_inline]] float operator()(float x) const { return factor * x; }
};
struct AddScalar {
  float value;
  [[gnu::always_inline]] float operator()(float x) const { return x + value; }
};
struct Exp {
  [[gnu::always_inline]] float operator()(float x) const { return vexp(x); }
};
struct Log {
  [[gnu::always_inline]] float operator()(float x) const { return vlog(x); }
};
struct Sqrt {
  [[gnu::always_inline]] float operator()(float x) const { return std::sqrt(x); }
};
struct Clamp {
  float lo, hi;
  [[gnu::always_inline]] float operator()(float x) const {
    const float y = x < lo ? lo : x;
    return y > hi ? hi : y;
  }
};

template <class Op, class T>
TENON_CLONES void unary_row(const T* x, T* y, int64_t n, Op op) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) y[i] = from_float<T>(op(to_float(x[i])));
}

template <class Op>
void run_unary(const Tensor& x, Tensor& y, Op op) {
  for_float_types(x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    T* out = y.data<T>();
    parallel_for(x.numel(), kGrain,
                 [&](int64_t begin, int64_t end) { unary_row(in + begin, out + begin, end - begin, op); });
  });
}

}  // namespace

void unary(Unary op, const Tensor& x, Tensor& y, float p, float q) {
  switch (op) {
    case Unary::scale:
      return run_unary(x, y, Scale{p});
    case Unary::add_scalar:
      return run_unary(x, y, AddScalar{p});
    case Unary::exp:
      return run_unary(x, y, Exp{});
    case Unary::log:
      return run_unary(x, y, Log{});
    case Unary::sqrt:
      return run_unary(x, y, Sqrt{});
    case Unary::clamp:
      return run_unary(x, y, Clamp{p, q});
  }
}

void fill(Tensor& x, float value) {
  if (x.numel() == 0) return;
  const auto loop = strided_loop<1>(x.shape(), {&x});
  for_float_types(x.dtype(), [&]<class T>() {
    T* data = x.data<T>();
    const T filler = from_float<T>(value);
    const int64_t stride = loop.row_stride()[0];
    for_rows(loop, [&](const auto& at, int64_t n) {
      if (stride == 1) {
        std::fill_n(data + at[0], n, filler);
      } else {
        for (int64_t i = 0; i < n; ++i) data[at[0] + i * stride] = filler;
      }
    });
  });
}

}  // namespace tenon::ops::cpu
