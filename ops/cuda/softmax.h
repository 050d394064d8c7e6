// CUDA kernels of ops/softmax.h. All tensors are contiguous, of one shape and dtype, and not empty.
#pragma once

#include "../../runtime/tensor.h"

namespace tenon::ops::cuda {

void softmax(const Tensor& x, Tensor& y);
void softmax_backward(const Tensor& dy, const Tensor& y, Tensor& dx);
void log_softmax(const Tensor& x, Tensor& y);
void log_softmax_backward(const Tensor& dy, const Tensor& y, Tensor& dx);

}  // namespace tenon::ops::cuda
