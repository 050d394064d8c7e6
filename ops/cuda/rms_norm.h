// CUDA kernels of ops/rms_norm.h. All tensors are contiguous and checked.
#pragma once

#include "../../runtime/tensor.h"

namespace tenon::ops::cuda {

void rms_norm(const Tensor& x, const Tensor& weight, float eps, Tensor& y, Tensor& rstd);
void rms_norm_residual(const Tensor& x, const Tensor& residual, const Tensor& weight, float eps, Tensor& y, Tensor& sum,
                       Tensor& rstd);
/// dsum and dweight may be null.
void rms_norm_backward(const Tensor& dy, const Tensor* dsum, const Tensor& x, const Tensor& weight, const Tensor& rstd,
                       Tensor& dx, Tensor* dweight);

}  // namespace tenon::ops::cuda
