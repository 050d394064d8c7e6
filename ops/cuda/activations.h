// CUDA kernels of ops/activations.h. All tensors are contiguous, of one shape and dtype.
#pragma once

#include "../activations.h"

namespace tenon::ops::cuda {

void activation(Activation kind, const Tensor& x, Tensor& y);
void activation_backward(Activation kind, const Tensor& dy, const Tensor& x, Tensor& dx);

}  // namespace tenon::ops::cuda
