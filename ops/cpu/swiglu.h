// CPU kernels of ops/swiglu.h. The last dimension of every tensor has stride 1; results are contiguous.
#pragma once

#include "../../runtime/tensor.h"

namespace tenon::ops::cpu {

void swiglu(const Tensor& gate, const Tensor& up, Tensor& y);
void swiglu_backward(const Tensor& dy, const Tensor& gate, const Tensor& up, Tensor& dgate, Tensor& dup);

}  // namespace tenon::ops::cpu
