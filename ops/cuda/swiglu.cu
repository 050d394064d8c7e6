#include "swiglu.h"

#include "map.h"

namespace tenon::ops::cuda {
namespace {

__device__ float sigmoid(float x) { return 1.0f / (1.0f + __expf(-x)); }

struct Forward {  // of gate, up
  __device__ void operator()(float (&y)[1], const float (&x)[2]) const { y[0] = x[0] * sigmoid(x[0]) * x[1]; }
};
struct Backward {  // of dy, gate, up to dgate, dup
  __device__ void operator()(float (&d)[2], const float (&x)[3]) const {
    const float s = sigmoid(x[1]), silu = x[1] * s;
    d[0] = x[0] * x[2] * (s + silu * (1.0f - s));
    d[1] = x[0] * silu;
  }
};

}  // namespace

void swiglu(const Tensor& gate, const Tensor& up, Tensor& y) {
  for_float_types(y.dtype(), [&]<class T>() { map<T, T, T>(Forward{}, y.shape(), std::array{&y}, {&gate, &up}); });
}

void swiglu_backward(const Tensor& dy, const Tensor& gate, const Tensor& up, Tensor& dgate, Tensor& dup) {
  for_float_types(dy.dtype(), [&]<class T>() {
    map<T, T, T, T>(Backward{}, dy.shape(), std::array{&dgate, &dup}, {&dy, &gate, &up});
  });
}

}  // namespace tenon::ops::cuda
