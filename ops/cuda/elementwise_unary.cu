#include <cstring>

#include "elementwise.h"
#include "map.h"

namespace tenon::ops::cuda {
namespace {

// One kernel for all: the branch is the same for every element, and memory sets the pace.
struct AnyUnary {
  Unary op;
  float p, q;
  __device__ void operator()(float (&y)[1], const float (&x)[1]) const {
    const float v = x[0];
    switch (op) {
      case Unary::scale:
        y[0] = p * v;
        break;
      case Unary::add_scalar:
        y[0] = v + p;
        break;
      case Unary::exp:
        y[0] = expf(v);
        break;
      case Unary::log:
        y[0] = logf(v);
        break;
      case Unary::sqrt:
        y[0] = sqrtf(v);
        break;
      case Unary::clamp: {
        const float low = v < p ? p : v;
        y[0] = low > q ? q : low;
        break;
      }
    }
  }
};
// Of a view: the element's old value is read in vain, which costs less than a loop of its own would.
struct Constant {
  float value;
  __device__ void operator()(float (&y)[1], const float (&)[1]) const { y[0] = value; }
};

template <class Op>
void run(Op op, const Tensor& x, Tensor& y) {
  if (x.numel() == 0) return;
  for_float_types(x.dtype(), [&]<class T>() { map<T, T>(op, y.shape(), std::array{&y}, {&x}); });
}

}  // namespace

void unary(Unary op, const Tensor& x, Tensor& y, float p, float q) { run(AnyUnary{op, p, q}, x, y); }

void fill(Tensor& x, float value) {
  if (!x.is_contiguous()) return run(Constant{value}, x, x);
  for_float_types(x.dtype(), [&]<class T>() {
    const T element = from_float<T>(value);
    uint64_t bits = 0;
    std::memcpy(&bits, &element, sizeof element);
    tenon::cuda::fill(x.device(), x.raw(), bits, sizeof element, x.numel());
  });
}

}  // namespace tenon::ops::cuda
