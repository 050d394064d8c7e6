#include "activations.h"

#include "../../runtime/simd.h"
#include "../../runtime/threads.h"
#include "grain.h"
#include "vector_math.h"

namespace tenon::ops::cpu {
namespace {

// Each has the function and its slope.
struct Silu {
  [[gnu::always_inline]] static float value(float x) { return x * vsigmoid(x); }
  [[gnu::always_inline]] static float slope(float x) {
    const float s = vsigmoid(x);
    return s + s * x * (1.0f - s);
  }
};

struct Gelu {
  [[gnu::always_inline]] static float value(float x) { return x * vnormal_cdf(x); }
  [[gnu::always_inline]] static float slope(float x) {
    constexpr float kInverseSqrt2Pi = 0.398942280401432678f;
    return vnormal_cdf(x) + x * kInverseSqrt2Pi * vexp(-0.5f * x * x);
  }
};

// 1 + tanh(u) = 2 sigmoid(2u), which does not cancel for negative u.
struct GeluTanh {
  static constexpr float kTwoSqrt2OverPi = 1.59576912160573071f, kCubic = 0.044715f;
  [[gnu::always_inline]] static float value(float x) {
    return x * vsigmoid(kTwoSqrt2OverPi * (x + kCubic * x * x * x));
  }
  [[gnu::always_inline]] static float slope(float x) {
    const float s = vsigmoid(kTwoSqrt2OverPi * (x + kCubic * x * x * x));
    return s + x * s * (1.0f - s) * kTwoSqrt2OverPi * (1.0f + 3.0f * kCubic * x * x);
  }
};

struct Relu {
  [[gnu::always_inline]] static float value(float x) { return x < 0.0f ? 0.0f : x; }
  [[gnu::always_inline]] static float slope(float x) { return x > 0.0f ? 1.0f : 0.0f; }
};

struct Sigmoid {
  [[gnu::always_inline]] static float value(float x) { return vsigmoid(x); }
  // 1 - sigmoid(x) = sigmoid(-x) without cancellation
  [[gnu::always_inline]] static float slope(float x) { return vsigmoid(x) * vsigmoid(-x); }
};

struct Softplus {
  [[gnu::always_inline]] static float value(float x) { return vsoftplus(x); }
  [[gnu::always_inline]] static float slope(float x) { return vsigmoid(x); }
};

struct Tanh {
  [[gnu::always_inline]] static float value(float x) { return vtanh(x); }
  // 1 - tanh^2(x) = 4 sigmoid(2x) sigmoid(-2x)
  [[gnu::always_inline]] static float slope(float x) { return 4.0f * vsigmoid(2.0f * x) * vsigmoid(-2.0f * x); }
};

template <class F, class T>
TENON_CLONES void forward_row(const T* x, T* y, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) y[i] = from_float<T>(F::value(to_float(x[i])));
}

template <class F, class T>
TENON_CLONES void backward_row(const T* dy, const T* x, T* dx, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) dx[i] = from_float<T>(to_float(dy[i]) * F::slope(to_float(x[i])));
}

template <class F>
void with_kind(Activation kind, F&& f) {
  switch (kind) {
    case Activation::silu:
      return f.template operator()<Silu>();
    case Activation::gelu:
      return f.template operator()<Gelu>();
    case Activation::gelu_tanh:
      return f.template operator()<GeluTanh>();
    case Activation::relu:
      return f.template operator()<Relu>();
    case Activation::sigmoid:
      return f.template operator()<Sigmoid>();
    case Activation::softplus:
      return f.template operator()<Softplus>();
    case Activation::tanh:
      return f.template operator()<Tanh>();
  }
}

}  // namespace

void activation(Activation kind, const Tensor& x, Tensor& y) {
  with_kind(kind, [&]<class F>() {
    for_float_types(x.dtype(), [&]<class T>() {
      const T* in = x.data<T>();
      T* out = y.data<T>();
      parallel_for(x.numel(), kGrain,
                   [&](int64_t begin, int64_t end) { forward_row<F>(in + begin, out + begin, end - begin); });
    });
  });
}

void activation_backward(Activation kind, const Tensor& dy, const Tensor& x, Tensor& dx) {
  with_kind(kind, [&]<class F>() {
    for_float_types(x.dtype(), [&]<class T>() {
      const T *in = x.data<T>(), *incoming = dy.data<T>();
      T* out = dx.data<T>();
      parallel_for(x.numel(), kGrain, [&](int64_t begin, int64_t end) {
        backward_row<F>(incoming + begin, in + begin, out + begin, end - begin);
      });
    });
  });
}

}  // namespace tenon::ops::cpu
