// CUDA kernels of ops/swiglu.h. Inputs of any strides; results are contiguous and not empty.
#pragma once

#include "../../runtime/tensor.h"

namespace tenon::ops::cuda {

void swiglu(const Tensor& gate, const Tensor& up, Tensor& y);
void swiglu_backward(const Tensor& dy, const Tensor& gate, const Tensor& up, Tensor& dgate, Tensor& dup);

}  // namespace tenon::ops::cuda
