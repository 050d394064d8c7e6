// CUDA kernel of ops/top_k.h: x contiguous [rows, n].
#pragma once

#include "../../runtime/tensor.h"

namespace tenon::ops::cuda {

void top_k(const Tensor& x, int64_t k, Tensor& values, Tensor& indices);

}  // namespace tenon::ops::cuda
