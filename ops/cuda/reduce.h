// CUDA kernel of ops/reduce.h. Arguments are checked by the caller.
#pragma once

#include "../../runtime/tensor.h"
#include "../reduction.h"

namespace tenon::ops::cuda {

/// x contiguous, seen as [outer, n, inner] -> y f32, outer * inner elements.
void reduce(Reduction op, const Tensor& x, int64_t outer, int64_t n, int64_t inner, Tensor& y);

}  // namespace tenon::ops::cuda
