// CPU kernels of ops/reduce.h, and column sums for other kernels. Arguments are checked by the caller.
#pragma once

#include "../../runtime/tensor.h"
#include "../reduction.h"

namespace tenon::ops::cpu {

/// x contiguous, seen as [outer, n, inner] -> y f32, outer * inner elements.
void reduce(Reduction op, const Tensor& x, int64_t outer, int64_t n, int64_t inner, Tensor& y);

/// y[c] += sum over rows, in their order, of x[row, c]; x [rows, columns].
void add_column_sums(const float* x, int64_t rows, int64_t columns, float* y);

}  // namespace tenon::ops::cpu
