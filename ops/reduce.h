// Sums, means and maxima over one dimension or over all.
//
// f32 and bf16, accumulated in f32 in an order that depends on the shape alone. The sum over a dimension has x's dtype.
// x is read once.
#pragma once

#include "../runtime/tensor.h"

namespace tenon::ops {

/// `dim` counts from the end when negative. The dimension disappears, or stays as 1 with `keepdim`.
Tensor sum(const Tensor& x, int dim, bool keepdim = false);
/// Error for an empty dimension.
Tensor mean(const Tensor& x, int dim, bool keepdim = false);
/// NaN where there is one. Error for an empty dimension.
Tensor max(const Tensor& x, int dim, bool keepdim = false);

/// Over all elements: f32 of shape [].
Tensor sum(const Tensor& x);
Tensor mean(const Tensor& x);

}  // namespace tenon::ops
