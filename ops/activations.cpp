#include "activations.h"

#include "cpu/activations.h"
#include "cuda/activations.h"
#include "dispatch.h"

namespace tenon::ops {

Tensor activation(Activation kind, const Tensor& x) {
  check_float("activation", {{"x", x}});
  Tensor y = Tensor::like(x);
  on_device("activation", x.device(), cpu::activation, cuda::activation, kind, x.contiguous(), y);
  return y;
}

Tensor activation_backward(Activation kind, const Tensor& dy, const Tensor& x) {
  check_same_device("activation_backward", {{"dy", dy}, {"x", x}});
  check_same_shape("activation_backward", {{"dy", dy}, {"x", x}});
  check_same_dtype("activation_backward", {{"dy", dy}, {"x", x}});
  check_float("activation_backward", {{"x", x}});
  Tensor dx = Tensor::like(x);
  on_device("activation_backward", x.device(), cpu::activation_backward, cuda::activation_backward, kind,
            dy.contiguous(), x.contiguous(), dx);
  return dx;
}

}  // namespace tenon::ops
