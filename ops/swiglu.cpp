#include "swiglu.h"

#include "cpu/swiglu.h"
#include "cuda/swiglu.h"
#include "dispatch.h"

namespace tenon::ops {
namespace {

void check_pair(const char* op, const Tensor& gate, const Tensor& up) {
  check_same_device(op, {{"gate", gate}, {"up", up}});
  check_same_shape(op, {{"gate", gate}, {"up", up}});
  check_same_dtype(op, {{"gate", gate}, {"up", up}});
  check_float(op, {{"gate", gate}});
}

Tensor with_contiguous_rows(const Tensor& x) {
  return x.rank() == 0 || x.dim(-1) == 1 || x.stride(-1) == 1 ? x : x.contiguous();
}

}  // namespace

Tensor swiglu(const Tensor& gate, const Tensor& up) {
  check_pair("swiglu", gate, up);
  Tensor y = Tensor::like(gate);
  if (y.numel() > 0)
    on_device("swiglu", gate.device(), cpu::swiglu, cuda::swiglu, with_contiguous_rows(gate), with_contiguous_rows(up),
              y);
  return y;
}

SwigluGrads swiglu_backward(const Tensor& dy, const Tensor& gate, const Tensor& up) {
  check_pair("swiglu_backward", gate, up);
  check_same_device("swiglu_backward", {{"gate", gate}, {"dy", dy}});
  check_same_shape("swiglu_backward", {{"gate", gate}, {"dy", dy}});
  check_same_dtype("swiglu_backward", {{"gate", gate}, {"dy", dy}});
  SwigluGrads out{Tensor::like(gate), Tensor::like(up)};
  if (dy.numel() > 0)
    on_device("swiglu_backward", gate.device(), cpu::swiglu_backward, cuda::swiglu_backward, with_contiguous_rows(dy),
              with_contiguous_rows(gate), with_contiguous_rows(up), out.dgate, out.dup);
  return out;
}

}  // namespace tenon::ops
