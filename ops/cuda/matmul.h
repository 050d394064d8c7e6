// Batches of products on a GPU, by cuBLASLt; arguments are checked by ops/matmul.cpp.
#pragma once

#include "../../runtime/tensor.h"

namespace tenon::ops::cuda {

void matmul(Tensor& c, const Tensor& a, const Tensor& b, bool trans_a, bool trans_b, float beta);

}  // namespace tenon::ops::cuda
