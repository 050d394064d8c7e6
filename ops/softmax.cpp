#include "softmax.h"

#include "../runtime/check.h"
#include "cpu/softmax.h"
#include "cuda/softmax.h"
#include "dispatch.h"

namespace tenon::ops {
namespace {

using Forward = void (*)(const Tensor& x, Tensor& y);
using Backward = void (*)(const Tensor& dy, const Tensor& y, Tensor& dx);

Tensor forward(const char* op, const Tensor& x, Forward cpu, Forward cuda) {
  check_float(op, {{"x", x}});
  check(x.rank() >= 1, "{}: x {} has no dimension to normalise over", op, x.shape());
  Tensor y = Tensor::like(x);
  if (x.numel() > 0) on_device(op, x.device(), cpu, cuda, x.contiguous(), y);
  return y;
}

Tensor backward(const char* op, const Tensor& dy, const Tensor& y, Backward cpu, Backward cuda) {
  check_same_device(op, {{"y", y}, {"dy", dy}});
  check_same_shape(op, {{"y", y}, {"dy", dy}});
  check_same_dtype(op, {{"y", y}, {"dy", dy}});
  check_float(op, {{"y", y}});
  Tensor dx = Tensor::like(y);
  if (y.numel() > 0) on_device(op, y.device(), cpu, cuda, dy.contiguous(), y.contiguous(), dx);
  return dx;
}

}  // namespace

Tensor softmax(const Tensor& x) { return forward("softmax", x, cpu::softmax, cuda::softmax); }
Tensor softmax_backward(const Tensor& dy, const Tensor& y) {
  return backward("softmax_backward", dy, y, cpu::softmax_backward, cuda::softmax_backward);
}
Tensor log_softmax(const Tensor& x) { return forward("log_softmax", x, cpu::log_softmax, cuda::log_softmax); }
Tensor log_softmax_backward(const Tensor& dy, const Tensor& y) {
  return backward("log_softmax_backward", dy, y, cpu::log_softmax_backward, cuda::log_softmax_backward);
}

}  // namespace tenon::ops
