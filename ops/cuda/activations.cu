#include "activations.h"

#include "map.h"

namespace tenon::ops::cuda {
namespace {

constexpr float kInverseSqrt2 = 0.707106781186547524f, kInverseSqrt2Pi = 0.398942280401432678f;
constexpr float kTwoSqrt2OverPi = 1.59576912160573071f, kCubic = 0.044715f;  // of the approximated gelu

__device__ float sigmoid(float x) { return 1.0f / (1.0f + __expf(-x)); }
__device__ float normal_cdf(float x) { return 0.5f * erfcf(-x * kInverseSqrt2); }

__device__ float value(Activation kind, float x) {
  switch (kind) {
    case Activation::silu:
      return x * sigmoid(x);
    case Activation::gelu:
      return x * normal_cdf(x);
    case Activation::gelu_tanh:
      return x * sigmoid(kTwoSqrt2OverPi * (x + kCubic * x * x * x));
    case Activation::relu:
      return x < 0.0f ? 0.0f : x;
    case Activation::sigmoid:
      return sigmoid(x);
    case Activation::softplus:
      return fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x)));
    default:  // tanh
      return tanhf(x);
  }
}

__device__ float slope(Activation kind, float x) {
  switch (kind) {
    case Activation::silu: {
      const float s = sigmoid(x);
      return s + s * x * (1.0f - s);
    }
    case Activation::gelu:
      return normal_cdf(x) + x * kInverseSqrt2Pi * expf(-0.5f * x * x);
    case Activation::gelu_tanh: {
      const float s = sigmoid(kTwoSqrt2OverPi * (x + kCubic * x * x * x));
      return s + x * s * (1.0f - s) * kTwoSqrt2OverPi * (1.0f + 3.0f * kCubic * x * x);
    }
    case Activation::relu:
      return x > 0.0f ? 1.0f : 0.0f;
    case Activation::sigmoid:
      return sigmoid(x) * sigmoid(-x);
    case Activation::softplus:
      return sigmoid(x);
    default:  // tanh
      return 4.0f * sigmoid(2.0f * x) * sigmoid(-2.0f * x);
  }
}

// One kernel for all kinds: the branch is the same for every element.
struct Forward {
  Activation kind;
  __device__ void operator()(float (&y)[1], const float (&x)[1]) const { y[0] = value(kind, x[0]); }
};
struct Backward {  // of dy, x
  Activation kind;
  __device__ void operator()(float (&dx)[1], const float (&x)[2]) const { dx[0] = x[0] * slope(kind, x[1]); }
};

}  // namespace

void activation(Activation kind, const Tensor& x, Tensor& y) {
  if (x.numel() == 0) return;
  for_float_types(x.dtype(), [&]<class T>() { map<T, T>(Forward{kind}, y.shape(), std::array{&y}, {&x}); });
}

void activation_backward(Activation kind, const Tensor& dy, const Tensor& x, Tensor& dx) {
  if (x.numel() == 0) return;
  for_float_types(x.dtype(), [&]<class T>() { map<T, T, T>(Backward{kind}, dx.shape(), std::array{&dx}, {&dy, &x}); });
}

}  // namespace tenon::ops::cuda
