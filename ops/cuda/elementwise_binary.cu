#include "elementwise.h"
#include "map.h"

namespace tenon::ops::cuda {
namespace {

// One kernel for all: the branch is the same for every element, and memory sets the pace.
struct AnyBinary {
  Binary op;
  __device__ void operator()(float (&y)[1], const float (&x)[2]) const {
    const float a = x[0], b = x[1];
    switch (op) {
      case Binary::add:
        y[0] = a + b;
        break;
      case Binary::sub:
        y[0] = a - b;
        break;
      case Binary::mul:
        y[0] = a * b;
        break;
      case Binary::div:
        y[0] = a / b;
        break;
      // The second comparison keeps a NaN in a; one in b fails both and is taken.
      case Binary::maximum:
        y[0] = a > b || a != a ? a : b;
        break;
      case Binary::minimum:
        y[0] = a < b || a != a ? a : b;
        break;
    }
  }
};
struct AddScaled {
  float alpha;
  __device__ void operator()(float (&y)[1], const float (&x)[2]) const { y[0] = x[0] + alpha * x[1]; }
};
struct AddScaledByTensor {
  __device__ void operator()(float (&y)[1], const float (&x)[3]) const { y[0] = x[0] + x[2] * x[1]; }
};

template <class Op>
void run(Op op, const Tensor& a, const Tensor& b, Tensor& y) {
  for_float_types(a.dtype(), [&]<class A>() {
    for_float_types(b.dtype(), [&]<class B>() { map<A, A, B>(op, y.shape(), std::array{&y}, {&a, &b}); });
  });
}

}  // namespace

void binary(Binary op, const Tensor& a, const Tensor& b, Tensor& y) { run(AnyBinary{op}, a, b, y); }

void add_into(Tensor& y, const Tensor& x, float alpha) { run(AddScaled{alpha}, y, x, y); }

void add_scaled_into(Tensor& y, const Tensor& x, const Tensor& alpha) {
  for_float_types(y.dtype(), [&]<class Y>() {
    for_float_types(x.dtype(), [&]<class X>() {
      map<Y, Y, X, float>(AddScaledByTensor{}, y.shape(), std::array{&y}, {&y, &x, &alpha});
    });
  });
}

}  // namespace tenon::ops::cuda
